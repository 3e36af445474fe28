"""The tables behind the targets, one for each part."""

from collections.abc import Callable, Iterable
from statistics import median

from imgserve.machine import cpu_quota
from tools.benchmarks.parts.asking import Row
from tools.benchmarks.parts.cold import IMPORTS
from tools.benchmarks.parts.servers import NO_CLIENTS
from tools.benchmarks.report.best import rates
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.report.results import inferences, starts
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import Spread, ratio, shown

THOUSAND = 1000


def limit(measured: Measured) -> str:
    """Return the rates of all arrangements: all of the work, and the engine alone."""
    cells = []
    for precision in dict.fromkeys(row.precision for row in measured.limit):
        whole = rates(measured.limit, "whole", precision)
        engine = rates(measured.limit, "engine", precision)
        best = max(whole, key=lambda way: median(whole[way]))
        cells += [
            (
                precision,
                f"**{way.name}**" if way == best else way.name,
                str(Spread.of(whole[way])),
                str(Spread.of(engine[way])),
            )
            for way in whole
        ]
    return table(("precision", "arrangement", "pictures a second", "engine alone"), cells)


def servers(measured: Measured) -> str:
    """Return what every entrance did, each way, for each number of clients."""
    keys = dict.fromkeys((row.way, row.clients, row.entrance) for row in measured.servers)
    cells = []
    for way, clients, entrance in sorted(keys, key=lambda key: (key[0], key[1])):
        group = [
            row
            for row in measured.servers
            if (row.way, row.clients, row.entrance) == (way, clients, entrance)
        ]
        cells.append((way, "" if clients == NO_CLIENTS else str(clients), entrance, *_of(group)))
    titles = ("way", "clients", "server", "answers a second", "p50, ms", "p99, ms", "peak, MB")
    spent = ("CPU s per 1000", "MB s per 1000", "wrk and nginx, of all cores")
    return table((*titles, *spent), cells)


def _of(group: list[Row]) -> tuple[str, ...]:
    def spread(value: Callable[[Row], float]) -> Spread:
        return Spread.of(map(value, group))

    shares = [(row.generator_cpu_s + row.host_cpu_s) / (row.seconds * cpu_quota()) for row in group]
    each = [max(1, row.answers) / THOUSAND for row in group]
    cpu_s = [row.server_cpu_s / number for row, number in zip(group, each, strict=True)]
    held = [row.peak_mb * row.seconds / number for row, number in zip(group, each, strict=True)]
    return (
        str(spread(lambda row: row.rate)),
        shown(spread(lambda row: row.p50_ms).median),
        shown(spread(lambda row: row.p99_ms).median),
        shown(max(row.peak_mb for row in group)),
        shown(median(cpu_s)),
        shown(median(held)),
        f"{100 * median(shares):.1f} %",
    )


def cold(measured: Measured) -> str:
    """Return the starts of every model, and their ratio to the original's."""
    kinds = dict.fromkeys((row.model, row.what) for row in measured.cold)
    imports = starts(measured, IMPORTS, "")
    cells = []
    for model, what in kinds:
        taken = starts(measured, what, model)
        against = (ratio(taken, starts(measured, "original", model)), ratio(taken, imports))
        cells.append((model, what, str(Spread.of(taken.values())), *_or_nothing(against)))
    return table(("model", "what", "seconds", "of the original's", "of the imports'"), cells)


def latency(measured: Measured) -> str:
    """Return single inferences of every model, and their ratio to eager torch."""
    kinds = dict.fromkeys((row.model, row.engine, row.precision) for row in measured.latency)
    cells = []
    for model, engine, precision in kinds:
        taken = inferences(measured, model, engine, precision)
        against = ratio(taken, inferences(measured, model, "torch", "fp32"))
        spread = str(Spread.of(taken.values()))
        cells.append((model, engine, precision, spread, *_or_nothing([against])))
    return table(("model", "engine", "precision", "ms", "of eager torch's"), cells)


def stages(measured: Measured) -> str:
    """Return the stages of each model and each picture."""
    cells = [
        (
            row.model,
            f"{row.engine} {row.precision}",
            f"{row.megapixels:g} MP {row.format}, {row.size_bytes / 1e6:.2f} MB",
            shown(row.fetch_ms),
            shown(row.decode_ms),
            shown(row.preprocess_ms),
            shown(row.inference_ms),
            "" if row.rest_ms is None else shown(row.rest_ms),
        )
        for row in measured.stages
    ]
    titles = ("model", "engine", "picture", "fetch", "decode", "preprocess", "inference")
    return table((*titles, "the rest"), cells)


def agreement(measured: Measured) -> str:
    """Return how often int8 finds the class that fp32 finds."""
    cells = [
        (row.model, str(row.pictures), str(row.same), shown(row.fp32_mb), shown(row.int8_mb))
        for row in measured.agreement
    ]
    titles = ("model", "pictures", "the same class", "weights in fp32, MB", "in int8, MB")
    return table(titles, cells)


def _or_nothing(spreads: Iterable[Spread | None]) -> list[str]:
    return ["" if spread is None else str(spread) for spread in spreads]
