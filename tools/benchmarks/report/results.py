"""The result of each target: the worst of what it covers, with its spread over rounds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tools.benchmarks.parts.cold import ORIGINAL, OURS
from tools.benchmarks.parts.servers import BARE, LIMIT, NO_CLIENTS
from tools.benchmarks.plan import MODEL
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.spread import Spread, difference, ratio
from tools.benchmarks.targets import TARGETS, Target

OURS_V1 = "v1"
PEERS = ("original", "litserve", "bentoml")
WAYS = ("url", "upload")
MANY = (8, 32)


@dataclass(frozen=True)
class Result:
    """What a target comes to.

    Attributes:
        of: what the spread is of, where a target covers several things: the worst of them.
    """

    spread: Spread
    of: str = ""


# What a target covers, each with its spread; None where it was not measured.
Covered = Iterable[tuple[str, Spread | None]]


def results(measured: Measured) -> dict[str, Result | None]:
    """Return the result of each target by its id; None of one that was not measured."""
    return {target.id: _worst(target, _covered(target.id, measured)) for target in TARGETS}


def _worst(target: Target, covered: Covered) -> Result | None:
    found = [Result(spread, of) for of, spread in covered if spread is not None]
    if not found:
        return None
    return (min if target.is_floor else max)(found, key=lambda each: each.spread.median)


def _covered(identity: str, measured: Measured) -> Covered:
    if identity.startswith("latency_"):
        model, _, precision = identity.removeprefix("latency_").rpartition("_")
        return [("", _latency(measured, model, precision))]
    return COVERED[identity](measured)


def _against_peers(engine: str) -> Callable[[Measured], Covered]:
    def covered(measured: Measured) -> Covered:
        for peer in PEERS:
            for way in WAYS:
                for clients in MANY:
                    ours = measured.by_round("rate", OURS_V1, way, clients)
                    theirs = measured.by_round("rate", f"{peer}_{engine}", way, clients)
                    yield f"{peer}, {way}, {clients} clients", ratio(ours, theirs)

    return covered


def _against_limit(way: str) -> Callable[[Measured], Covered]:
    def covered(measured: Measured) -> Covered:
        limit = measured.by_round("rate", LIMIT, "file", NO_CLIENTS)
        for clients in MANY:
            ours = measured.by_round("rate", OURS_V1, way, clients)
            yield f"{clients} clients", ratio(ours, limit)

    return covered


def _alone(measured: Measured) -> Covered:
    bare_ms = measured.by_round("p50_ms", BARE, "file", NO_CLIENTS)
    yield "", ratio(measured.by_round("p50_ms", OURS_V1, "upload", 1), bare_ms)


def _tail(measured: Measured) -> Covered:
    clients = max(MANY)
    for way in WAYS:
        p99_ms = measured.by_round("p99_ms", OURS_V1, way, clients)
        rate = measured.by_round("rate", OURS_V1, way, clients)
        yield way, ratio(p99_ms, {key: 1000 * clients / each for key, each in rate.items()})


def _cold(measured: Measured) -> Covered:
    yield MODEL, ratio(starts(measured, OURS, MODEL), starts(measured, ORIGINAL, MODEL))


def starts(measured: Measured, what: str, model: str) -> dict[int, float]:
    """Return the seconds of one kind of start, by round."""
    chosen = [row for row in measured.cold if (row.what, row.model) == (what, model)]
    return {row.round: row.seconds for row in chosen}


def _memory(measured: Measured) -> Covered:
    yield "", ratio(peaks(measured, OURS_V1), peaks(measured, "original_eager"))


def peaks(measured: Measured, entrance: str) -> dict[int, float]:
    """Return the most memory that an entrance's server had in each round, MB."""
    found: dict[int, float] = {}
    for row in measured.servers:
        if row.entrance == entrance:
            found[row.round] = max(row.peak_mb, found.get(row.round, 0))
    return found


def _int8(measured: Measured) -> Covered:
    for way in WAYS:
        for clients in MANY:
            int8 = measured.by_round("rate", "v1_int8", way, clients)
            fp32 = measured.by_round("rate", OURS_V1, way, clients)
            yield f"{way}, {clients} clients", ratio(int8, fp32)


def _agreement(measured: Measured) -> Covered:
    for row in measured.agreement:
        yield f"{row.model}, {row.pictures} pictures", Spread.of([row.same / row.pictures])


def _latency(measured: Measured, model: str, precision: str) -> Spread | None:
    return ratio(
        inferences(measured, model, "openvino", precision),
        inferences(measured, model, "torch", "fp32"),
    )


def inferences(measured: Measured, model: str, engine: str, precision: str) -> dict[int, float]:
    """Return the milliseconds of single inferences, by round."""
    wanted = (model, engine, precision)
    chosen = [row for row in measured.latency if (row.model, row.engine, row.precision) == wanted]
    return {row.round: row.inference_ms for row in chosen}


def _gateway(measured: Measured) -> Covered:
    for way in WAYS:
        through = measured.by_round("p50_ms", "v3_gateway", way, 1)
        yield way, difference(through, measured.by_round("p50_ms", "v3_direct", way, 1))


COVERED: Mapping[str, Callable[[Measured], Covered]] = {
    "peers": _against_peers("eager"),
    "same_engine": _against_peers("ours"),
    "limit_upload": _against_limit("upload"),
    "limit_url": _against_limit("url"),
    "alone": _alone,
    "tail": _tail,
    "cold": _cold,
    "memory": _memory,
    "int8": _int8,
    "int8_agreement": _agreement,
    "gateway": _gateway,
}
