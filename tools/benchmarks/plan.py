"""How much is measured: all of it, little of it, or just enough to see that it works."""

from collections.abc import Mapping
from dataclasses import dataclass

from imgserve.models.catalogue import CATALOGUE
from imgserve.models.compiled_model import PRECISIONS
from tools.benchmarks.pictures import FORMATS, MEGAPIXELS, Kind

EMBEDDED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
MODEL = EMBEDDED[0]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        name: results and the report say it.
        is_kept: whether results go where they are committed.
        rounds: of servers and of the limit; each measures everything once.
        load_s: how long a server is asked, by the number of clients: with 32 of them, one answer
            of a slow one takes two seconds.
        precisions: that models are compiled in, where they are not; all that are there take part.
        ways: how pictures come, ``url`` or ``upload``.
        contenders: names of those that take part; empty for all.
        loop_s: how long a bare loop runs.
        arrangements: of the bare loop that are tried.
        kinds: pictures of the stages.
        models: whose stages and cold start are measured.
        hub_models: whose latency is measured; their weights are random.
        repeats: predictions of one stage's or one model's figure.
        cold_rounds: starts of each.
        growth_models: loaded one after the other.
        growth_clients: at the same time.
        growth_megapixels: of a JPEG.
        strategy_models: that are offered together, by the name of their size.
        strategy_load_s: how long a strategy is asked, by size, then by the number of clients.
        strategy_rounds: each asks every strategy once.
        start_models: whose ways to come to a container are measured.
        start_ways: of them; empty for all.
        start_rounds: starts of each way.
    """

    name: str
    is_kept: bool
    rounds: int
    load_s: Mapping[int, float]
    precisions: tuple[str, ...]
    ways: tuple[str, ...]
    contenders: tuple[str, ...]
    loop_s: float
    arrangements: int
    kinds: tuple[Kind, ...]
    models: tuple[str, ...]
    hub_models: tuple[str, ...]
    repeats: int
    cold_rounds: int
    growth_models: tuple[str, ...]
    growth_clients: tuple[int, ...]
    growth_megapixels: tuple[float, ...]
    strategy_models: Mapping[str, tuple[str, ...]]
    strategy_load_s: Mapping[str, Mapping[int, float]]
    strategy_rounds: int
    start_models: tuple[str, ...]
    start_ways: tuple[str, ...]
    start_rounds: int


HUB = tuple(each for each in CATALOGUE if each not in EMBEDDED)

FULL = Plan(
    name="full",
    is_kept=True,
    rounds=5,
    load_s={1: 3, 8: 4, 32: 6},
    precisions=PRECISIONS,
    ways=("url", "upload"),
    contenders=(),
    loop_s=3,
    arrangements=99,
    kinds=tuple(Kind(size, name) for size in MEGAPIXELS for name in FORMATS),
    models=tuple(CATALOGUE),
    hub_models=HUB,
    repeats=20,
    cold_rounds=4,
    growth_models=(*EMBEDDED, "resnet152", "convnext_base", "swin_b"),
    growth_clients=(1, 2, 4, 8, 16, 32, 64, 128),
    growth_megapixels=MEGAPIXELS,
    strategy_models={"small": EMBEDDED, "large": ("resnet152", "convnext_base")},
    strategy_load_s={"small": {1: 1, 8: 2}, "large": {1: 1, 8: 2}},
    strategy_rounds=3,
    start_models=(MODEL, "resnet152"),
    start_ways=(),
    start_rounds=3,
)

QUICK = Plan(
    name="quick",
    is_kept=False,
    rounds=1,
    load_s={1: 1, 8: 2},
    precisions=PRECISIONS[:1],
    ways=("url", "upload"),
    contenders=(
        *("v1", "v1_int8", "v3"),
        *("original_eager", "litserve_eager", "bentoml_eager"),
        "original_ours",
    ),
    loop_s=1,
    arrangements=4,
    kinds=(Kind(0.1, "jpeg"), Kind(1.0, "webp"), Kind(12.0, "jpeg")),
    models=EMBEDDED[:1],
    hub_models=(),
    repeats=5,
    cold_rounds=1,
    growth_models=EMBEDDED[:2],
    growth_clients=(1, 8),
    growth_megapixels=(0.1, 12),
    strategy_models={"small": EMBEDDED[:2]},
    strategy_load_s={"small": {1: 1}},
    strategy_rounds=1,
    start_models=(MODEL,),
    start_ways=("in the image", "copied at start", "downloaded and compiled at start"),
    start_rounds=1,
)

SMOKE = Plan(
    name="smoke",
    is_kept=False,
    rounds=1,
    load_s={1: 1},
    precisions=PRECISIONS[:1],
    ways=("upload",),
    contenders=("v1", "limit"),
    loop_s=0.2,
    arrangements=2,
    kinds=(Kind(0.1, "jpeg"),),
    models=EMBEDDED[:1],
    hub_models=(),
    repeats=2,
    cold_rounds=1,
    growth_models=EMBEDDED[:1],
    growth_clients=(1, 2),
    growth_megapixels=(0.1, 1),
    strategy_models={},
    strategy_load_s={},
    strategy_rounds=0,
    start_models=(),
    start_ways=(),
    start_rounds=0,
)

PLANS = {plan.name: plan for plan in (FULL, QUICK, SMOKE)}
