"""How much is measured: everything, or what fits into three minutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgserve.models.compiled_model import PRECISIONS
from tools.benchmarks.models import EMBEDDED, HUB, MODEL
from tools.benchmarks.paths import DRAFTS, RESULTS


@dataclass(frozen=True)
class Plan:
    """How much is measured; by default all."""

    name: str = "full"  # stands in the results and in the report
    rounds: int = 3  # of everything, interleaved
    # Seconds of load on a server, by number of clients: those first that are compared with the
    # limit, which is measured before them. The slowest server needs two seconds to answer 32 of
    # them once. Larger pictures are asked for by URL only.
    load_s: Mapping[int, float] = field(default_factory=lambda: {8: 3, 32: 5, 1: 2})
    large_load_s: Mapping[int, float] = field(default_factory=lambda: {8: 4, 32: 7})
    loop_s: float = 3  # of a bare loop
    repeats: int = 20  # inferences of one model alone
    precisions: tuple[str, ...] = PRECISIONS  # to compile in; what is compiled already takes part
    models: tuple[str, ...] = (*EMBEDDED, *HUB)  # whose cold start and latency are measured
    servers: tuple[str, ...] = ()  # names of those that take part; empty for all
    photos: Path | None = None  # a folder of labelled photographs
    out: Path = RESULTS  # a folder of results


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
