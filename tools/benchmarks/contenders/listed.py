"""Every contender, ours first."""

from tools.benchmarks import models
from tools.benchmarks.contenders.contender import Contender
from tools.benchmarks.contenders.ours import v1, v2, v3
from tools.benchmarks.contenders.peers import bentoml, litserve, original
from tools.benchmarks.plan import MODEL

PEERS = (original, litserve, bentoml)


def contenders(model: str = MODEL) -> list[Contender]:
    """Return all that take part, with one model."""
    ours = [v1(model, precision) for precision in models.available(model)]
    given = [peer(model, engine) for engine in ("eager", "ours") for peer in PEERS]
    return [*ours, v2(model), v3(model), *given]
