"""Tables of int8 beside fp32: one inference, whole servers, and where the time goes anyway."""

from statistics import median

from tools.benchmarks.answers.results import Results
from tools.benchmarks.answers.serving import middle
from tools.benchmarks.plan import MODEL
from tools.benchmarks.report.results import inferences
from tools.benchmarks.report.table import table
from tools.benchmarks.spread import ratio, shown

FP32, INT8 = "v1", "v1_int8"
PERCENT = 100


def int8(results: Results) -> str:
    """Return a table of single inferences in both precisions, and how often they agree."""
    timed = [row.model for row in results.measured.latency]
    models = dict.fromkeys([*timed, *(row.model for row in results.measured.agreement)])
    times = ("eager torch, ms", "fp32, ms", "int8, ms", "int8 is times as fast as fp32")
    titles = ("model", *times, "the same class", "weights in fp32 and int8, MB")
    return table(titles, [_model(results, each) for each in models])


def _model(results: Results, model: str) -> tuple[str, ...]:
    ways = (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "int8"))
    times = [inferences(results.measured, model, *way) for way in ways]
    faster = ratio(times[1], times[2])
    return (
        model,
        *(shown(median(each.values())) if each else "" for each in times),
        "" if faster is None else str(faster),
        *_same_and_sizes(results, model),
    )


def _same_and_sizes(results: Results, model: str) -> tuple[str, str]:
    for row in results.measured.agreement:
        if row.model == model:
            sizes = f"{shown(row.fp32_mb)} and {shown(row.int8_mb)}"
            return f"{row.same} of {row.pictures}", sizes
    return "", ""


def least_agreement(results: Results) -> str:
    """Return the least share of pictures in which int8 finds what fp32 does, percent."""
    shares = [PERCENT * row.same / row.pictures for row in results.measured.agreement]
    return shown(min(shares)) if shares else ""


def int8_servers(results: Results) -> str:
    """Return a table of whole servers in both precisions, from picture to answer."""
    rows = [row for row in results.measured.servers if row.entrance in {FP32, INT8}]
    cells = []
    for way, clients in dict.fromkeys((row.way, row.clients) for row in rows):
        groups = [
            [row for row in rows if (row.entrance, row.way, row.clients) == (name, way, clients)]
            for name in (FP32, INT8)
        ]
        if all(groups):
            rates = [middle(group, lambda row: row.rate) for group in groups]
            times = [middle(group, lambda row: row.p50_ms) for group in groups]
            peaks = [shown(max(row.peak_mb for row in group)) for group in groups]
            faster = _faster(results, way, clients)
            cells.append((way, str(clients), *rates, faster, *times, *peaks))
    titles = ("pictures by", "clients", "fp32, answers a second", "int8", "int8 is times as fast")
    return table((*titles, "fp32, p50 ms", "int8", "fp32, peak MB", "int8"), cells)


def _faster(results: Results, way: str, clients: int) -> str:
    by_name = [results.measured.by_round("rate", name, way, clients) for name in (INT8, FP32)]
    found = ratio(*by_name)
    return "" if found is None else shown(found.median)


def stages(results: Results) -> str:
    """Return a table of where the time of one prediction goes, with JPEGs of several sizes."""
    cells = []
    for row in results.measured.stages:
        if row.rest_ms is None or (row.model, row.format) != (MODEL, "jpeg"):
            continue
        own = (row.fetch_ms, row.decode_ms, row.preprocess_ms, row.inference_ms)
        share = f"{PERCENT * row.inference_ms / sum(own):.0f} %"
        cells.append((f"{row.megapixels:g}", *map(shown, own), share))
    titles = ("megapixels", "fetch, ms", "decode, ms", "preprocess, ms", "inference in fp32, ms")
    return table((*titles, "inference's share"), cells)
