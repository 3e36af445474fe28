"""Every table and number that a text can have, by the name of its mark."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tools.benchmarks.answers import costs, deploying, precision, serving
from tools.benchmarks.answers.origin import REHEARSAL, absent, origin
from tools.benchmarks.answers.results import Results
from tools.benchmarks.answers.serving import strategy_ratio
from tools.benchmarks.contenders.strategies import CONTAINERS, FOR_ALL, PER_REQUEST
from tools.benchmarks.report import offering

# What follows the name of a number in French, with a comma where English has a point.
FRENCH = "-fr"
NO_NUMBER, PAS_DE_NOMBRE = "(not measured yet)", "(pas encore mesuré)"


@dataclass(frozen=True)
class Figure:
    """What is said of some parts' results; nothing where they have not run."""

    said: Callable[[Results], str]
    parts: tuple[str, ...]


def _figure(said: Callable[[Results], str], *parts: str) -> Figure:
    return Figure(said, parts)


TABLES: Mapping[str, Figure] = {
    "builds": _figure(deploying.builds, REHEARSAL),
    "images": _figure(deploying.images, REHEARSAL),
    "apart": _figure(deploying.apart, REHEARSAL),
    "starts": _figure(lambda results: offering.starts(results.measured), "starts"),
    "strategies": _figure(lambda results: offering.strategies(results.measured), "strategies"),
    "gateway": _figure(serving.gateway, "servers"),
    "int8": _figure(precision.int8, "latency", "agreement"),
    "int8-servers": _figure(precision.int8_servers, "servers"),
    "stages": _figure(precision.stages, "stages"),
    "costs": _figure(costs.costs, "servers"),
}
NUMBERS: Mapping[str, Figure] = {
    "builds-ratio": _figure(deploying.builds_ratio, REHEARSAL),
    "starts-ratio": _figure(serving.starts_ratio, "starts"),
    "http-ms": _figure(serving.http_ms, "stages"),
    "apart-memory": _figure(strategy_ratio("peak_mb", CONTAINERS, FOR_ALL), "strategies"),
    "pool-rate": _figure(strategy_ratio("rate", FOR_ALL, PER_REQUEST), "strategies"),
    "int8-agreement": _figure(precision.least_agreement, "agreement"),
}


def contents(results: Results, names: Iterable[str]) -> dict[str, str]:
    """Return what goes between marks of these names; those that are unknown are left out."""
    known = [name for name in names if name.removesuffix(FRENCH) in {*TABLES, *NUMBERS}]
    return {name: _content(results, name) for name in known}


def _content(results: Results, name: str) -> str:
    if name in TABLES:
        figure = TABLES[name]
        said = figure.said(results)
        return f"{said}\n{origin(results, figure.parts)}" if said else absent(figure.parts)
    number = NUMBERS[name.removesuffix(FRENCH)].said(results)
    if name.endswith(FRENCH):
        return number.replace(".", ",") or PAS_DE_NOMBRE
    return number or NO_NUMBER
