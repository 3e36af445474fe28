"""How much is measured: everything, or what fits into three minutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgserve.models.compiled_model import PRECISIONS
from tools.benchmarks.models import EMBEDDED, HUB, MODEL
from tools.benchmarks.paths import DRAFTS, RESULTS


@dataclass(frozen=True)
class Plan:
    """How much is measured; by default all.

    Attributes:
        name: stands in the results and in the report.
        rounds: how often everything is measured, interleaved.
        load_s: seconds of load on a server, by number of clients: those first that are compared
            with the limit, which is measured before them. The slowest server needs two
            seconds to answer 32 of them once.
        large_load_s: likewise with larger pictures, which are asked for by URL only.
        loop_s: seconds of a bare loop.
        repeats: inferences of one model alone.
        precisions: which models are compiled in; whatever is compiled already takes part too.
        models: whose cold start and latency are measured.
        servers: names of those that take part; empty for all.
        photos: folder of labelled photographs, if any.
        out: folder of results.
    """

    name: str = "full"
    rounds: int = 3
    load_s: Mapping[int, float] = field(default_factory=lambda: {8: 3, 32: 5, 1: 2})
    large_load_s: Mapping[int, float] = field(default_factory=lambda: {8: 4, 32: 7})
    loop_s: float = 3
    repeats: int = 20
    precisions: tuple[str, ...] = PRECISIONS
    models: tuple[str, ...] = (*EMBEDDED, *HUB)
    servers: tuple[str, ...] = ()
    photos: Path | None = None
    out: Path = RESULTS


FULL = Plan()
QUICK = Plan(
    "quick",
    rounds=1,
    load_s={8: 2, 32: 2, 1: 1},
    large_load_s={8: 2, 32: 2},
    loop_s=1,
    repeats=5,
    precisions=PRECISIONS[:1],
    models=(MODEL,),
    servers=("v1", "v1_int8", "v2", "v3", "original_eager", "original_ours"),
    out=DRAFTS,
)
