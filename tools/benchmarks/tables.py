"""The tables behind the targets, one for each part; nothing of a part that has not run."""

import pandas as pd

from tools.benchmarks.loop import ENGINE, TORCH, WHOLE
from tools.benchmarks.models import FP32
from tools.benchmarks.parts.cold import IMPORTS, ORIGINAL
from tools.benchmarks.parts.limit import Arrangement
from tools.benchmarks.parts.servers import NO_CLIENTS
from tools.benchmarks.records import Results
from tools.benchmarks.summary import Summary, groups, ratio, table, where
from tools.benchmarks.targets import inferences
from tools.benchmarks.targets import starts as cold_starts


def limit(results: Results) -> str:
    """Return the rates of all arrangements: all of the work, and the inference alone."""
    rows, cells = results["limit"], []
    for precision, own in groups(rows, "precision"):
        ways = {
            Arrangement(*way): where(group, work=WHOLE).rate
            for way, group in groups(own, "processes", "streams", "threads", "loops")
        }
        best = max(ways, key=lambda way: float(ways[way].median()))
        for way, whole in ways.items():
            alone = where(own, work=ENGINE, processes=way.processes, streams=way.streams)
            alone = where(alone, threads=way.threads, loops=way.loops).rate
            name = f"**{way}**" if way == best else str(way)
            cells.append((precision[0], name, Summary.of(whole), Summary.of(alone)))
    return table(("precision", "arrangement", "pictures a second", "engine alone"), cells)


def servers(results: Results) -> str:
    """Return what every server did, each way, for each number of clients; and what is left out."""
    record = results.records.get("servers")
    cores = int(record.machine.get("cores", 1)) if record else 1
    columns = ("way", "megapixels", "clients", "entrance")
    found = sorted(groups(results["servers"], *columns), key=lambda group: group[0][:3])
    cells = [
        (way, f"{size:g}", "" if clients == NO_CLIENTS else clients, name, *_load(rows, cores))
        for (way, size, clients, name), rows in found
    ]
    titles = (
        "way",
        "megapixels",
        "clients",
        "server",
        "answers a second",
        "p50, ms",
        "p99, ms",
        "peak, MB",
    )
    spent = ("CPU s per 1000", "MB s per 1000", "wrk and nginx, of all cores")
    return _invalid(results.invalid) + table((*titles, *spent), cells)


def _load(rows: pd.DataFrame, cores: int) -> tuple[object, ...]:
    thousands = rows.answers / 1000
    shares = (rows.generator_cpu_s + rows.host_cpu_s) / (rows.seconds * cores)
    return (
        Summary.of(rows.rate),
        float(rows.p50_ms.median()),
        float(rows.p99_ms.median()),
        float(rows.peak_mb.max()),
        float((rows.server_cpu_s / thousands).median()),
        float((rows.peak_mb * rows.seconds / thousands).median()),
        f"{100 * shares.median():.1f} %",
    )


def _invalid(rows: pd.DataFrame) -> str:
    lines = [
        f"- {row.entrance}, {row.way}, {row.megapixels} MP, {row.clients} clients, "
        f"round {row.round + 1}: {row.failed} of {row.answers} failed\n"
        for row in rows.itertuples()
    ]
    if not lines:
        return ""
    return "Left out, because not all answers were right:\n\n" + "".join(lines) + "\n"


def cold(results: Results) -> str:
    """Return the starts of every model, and their ratio to the original's."""
    imports, cells = cold_starts(results, IMPORTS, ""), []
    for (model, what), _ in groups(results["cold"], "model", "what"):
        taken = cold_starts(results, what, model)
        against = ratio(taken, cold_starts(results, ORIGINAL, model))
        cells.append((model, what, Summary.of(taken), against, ratio(taken, imports)))
    return table(("model", "what", "seconds", "of the original's", "of the imports'"), cells)


def latency(results: Results) -> str:
    """Return single inferences of every model, and their ratio to eager torch."""
    cells = []
    for key, _ in groups(results["latency"], "model", "engine", "precision"):
        taken = inferences(results, *key)
        against = ratio(taken, inferences(results, key[0], TORCH, FP32))
        cells.append((*key, Summary.of(taken), against))
    return table(("model", "engine", "precision", "ms", "of eager torch's"), cells)


def accuracy(results: Results) -> str:
    """Return how often each way of computing is right about labelled photographs."""
    titles = ("model", "megapixels", "computed in", "pictures", "right", "among five")
    return table(titles, results["accuracy"].itertuples(index=False))
