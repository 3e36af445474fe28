"""Tables and numbers of the texts: builds and images, the gateway, int8, where the time goes."""

from typing import Any

import pandas as pd

from tools.benchmarks.loop import TORCH
from tools.benchmarks.models import FP32, INT8
from tools.benchmarks.parts.inference import OPENVINO
from tools.benchmarks.records import Results
from tools.benchmarks.summary import difference, groups, ratio, table, three_digits, where
from tools.benchmarks.targets import V1, V1_INT8, inferences, server

# What a rehearsal builds twice, what it builds, and what an image's layers are for.
BUILT_TWICE = "backend_v1"
COMPONENTS = (
    *("backend_v1", "frontend_v1", "backend_v2", "frontend_v2"),
    *("v3_backend", "v3_gateway", "v3_frontend"),
)
PURPOSES = ("base", "models", "code")
GATEWAY, DIRECT = "v3_gateway", "v3_direct"


def builds(results: Results) -> str:
    """Return a table of one component's first build and the next, step by step."""
    if len(own := _builds_of_one(results)) < 2:  # noqa: PLR2004  nothing to compare with
        return ""
    first, second = own[:2]
    steps = [(name, s, second["steps"].get(name, 0.0)) for name, s in first["steps"].items()]
    titles = (f"{BUILT_TWICE}, seconds", "first build", "after a change of code")
    return table(titles, [("all", first["seconds"], second["seconds"]), *steps])


def builds_ratio(results: Results) -> str:
    """Return how many times as fast as the first build the next one is."""
    first, second, *_ = [*_builds_of_one(results), None, None]
    return three_digits(first["seconds"] / second["seconds"]) if first and second else ""


def _builds_of_one(results: Results) -> list[Any]:
    return [one for one in results.rehearsal.get("builds", []) if one["image"] == BUILT_TWICE]


def images(results: Results) -> str:
    """Return a table of every image's size by what its layers are for, and its build's time."""
    first: dict[str, Any] = {}
    for build in results.rehearsal.get("builds", []):
        first.setdefault(build["image"], build)
    cells = [
        (
            image,
            _size_mb(build),
            *(build["megabytes"].get(purpose, 0.0) for purpose in PURPOSES),
            build["steps"].get("build the app image", 0.0),
        )
        for image, build in first.items()
    ]
    titles = ("image", "MB, compressed", *PURPOSES, "building it on its base, s")
    return table(titles, cells)


def _size_mb(build: Any) -> float:
    return float(sum(build["megabytes"].values()))


def apart(results: Results) -> str:
    """Return a table of what each component takes by itself: build, deployment, images."""
    took_s = {step["name"]: step["seconds"] for step in results.rehearsal.get("steps", [])}
    newest = {build["image"]: build for build in results.rehearsal.get("builds", [])}
    cells = []
    for name in COMPONENTS:
        steps = [took_s.get(f"{verb} {name}") for verb in ("build", "deploy")]
        if None not in steps:
            own = [one for image, one in newest.items() if f"{image}_".startswith(f"{name}_")]
            cells.append((name, len(own), *steps, sum(map(_size_mb, own))))
    titles = ("component", "images", "build, s", "deploy, s", "MB, compressed")
    return table(titles, cells)


def _asked(results: Results, first: str, second: str) -> list[tuple[str, int, pd.DataFrame]]:
    """Return each way and number of clients that both entrances were asked with, and their rows."""
    rows = results["servers"]
    rows = rows[rows.entrance.isin([first, second])]
    found = [(*key, own) for key, own in groups(rows, "way", "clients")]
    return [one for one in found if one[2].entrance.nunique() > 1]


def _medians(rows: pd.DataFrame, column: str, *entrances: str) -> list[float]:
    return [float(where(rows, entrance=name)[column].median()) for name in entrances]


def gateway(results: Results) -> str:
    """Return a table of v3 asked through its gateway and directly."""
    cells = []
    for way, clients, rows in sorted(_asked(results, GATEWAY, DIRECT), key=lambda one: one[1]):
        both = (server(results, "p50_ms", name, way, clients) for name in (GATEWAY, DIRECT))
        hop = difference(*both)
        times = _medians(rows, "p50_ms", DIRECT, GATEWAY)
        rates = _medians(rows, "rate", DIRECT, GATEWAY)
        cells.append((way, clients, *times, hop.median if hop else None, *rates))
    titles = ("pictures by", "clients", "direct, p50 ms", "through the gateway, p50 ms")
    rate_titles = ("direct, answers a second", "through the gateway, answers a second")
    return table((*titles, "the hop, ms", *rate_titles), cells)


def int8(results: Results) -> str:
    """Return a table of single inferences in both precisions, and how often they agree."""
    agreement = {row.model: row for row in results["agreement"].itertuples()}
    cells = []
    for model in dict.fromkeys([*results["latency"].model, *agreement]):
        ways = ((TORCH, FP32), (OPENVINO, FP32), (OPENVINO, INT8))
        times = [inferences(results, model, *way) for way in ways]
        medians = [None if one.empty else float(one.median()) for one in times]
        same, sizes = "", ""
        if row := agreement.get(model):
            same = f"{row.same} of {row.pictures}"
            sizes = f"{three_digits(row.fp32_mb)} and {three_digits(row.int8_mb)}"
        cells.append((model, *medians, ratio(times[1], times[2]), same, sizes))
    titles = ("eager torch, ms", "fp32, ms", "int8, ms", "int8 is times as fast as fp32")
    return table(("model", *titles, "the same class", "weights in fp32 and int8, MB"), cells)


def least_agreement(results: Results) -> str:
    """Return the least share of pictures of which int8 names the class that fp32 does, percent."""
    rows = results["agreement"]
    return "" if rows.empty else three_digits(100 * (rows.same / rows.pictures).min())


def int8_servers(results: Results) -> str:
    """Return a table of whole servers in both precisions, from picture to answer."""
    cells = []
    for way, clients, rows in _asked(results, V1, V1_INT8):
        faster = ratio(*(server(results, "rate", name, way, clients) for name in (V1_INT8, V1)))
        rates, times = (_medians(rows, column, V1, V1_INT8) for column in ("rate", "p50_ms"))
        peaks = [float(where(rows, entrance=name).peak_mb.max()) for name in (V1, V1_INT8)]
        times_as_fast = faster.median if faster else None
        cells.append((way, clients, *rates, times_as_fast, *times, *peaks))
    titles = ("pictures by", "clients", "fp32, answers a second", "int8", "int8 is times as fast")
    return table((*titles, "fp32, p50 ms", "int8", "fp32, peak MB", "int8"), cells)
