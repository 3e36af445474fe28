"""How cost grows: with the models loaded, with the clients, with the picture."""

from collections.abc import Iterator

import msgspec

from imgserve import contract
from imgserve.models import compiled_model as artefact
from imgserve.models import loading
from tools.benchmarks import models, pictures
from tools.benchmarks.contenders.contender import Entrance, Standing, standing
from tools.benchmarks.contenders.ours import v1, v2
from tools.benchmarks.parts.asking import WARM_UP_CLIENTS, Asker, category_of
from tools.benchmarks.parts.stages import MAX_IMAGE_BYTES
from tools.benchmarks.pictures import Kind
from tools.benchmarks.places import PICTURES
from tools.benchmarks.plan import MODEL, Plan
from tools.benchmarks.processes import tree
from tools.benchmarks.processes.picture_host import PictureHost, picture_host
from tools.benchmarks.record import Record, begun
from tools.benchmarks.say import say

MEMORY_MB = 16_000  # all of them stay
# So long that each client has several answers: those of a shorter time would be the quick ones.
EACH_S = 0.1


class Row(msgspec.Struct, frozen=True):
    """One step of one kind of growth.

    Attributes:
        what: ``models``, ``clients`` or ``megapixels``.
        amount: how many.
        weights_mb: of all loaded models together, on disk.
    """

    what: str
    amount: float
    rate: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    failed: int
    weights_mb: float = 0.0


def measure(plan: Plan) -> Record:
    """Return the steps of all three."""
    record = begun("growth", plan)
    remarks = models.ensure(plan.growth_models)
    with picture_host(PICTURES) as host:
        rows = [*_models(plan, host), *_clients(plan, host), *_sizes(plan, host)]
    return msgspec.structs.replace(record, rows=rows, remarks=remarks)


def _models(plan: Plan, host: PictureHost) -> Iterator[Row]:
    """Yield what the first model does, while one after the other is loaded beside it."""
    usual = pictures.usual()
    contender = v2(*plan.growth_models, MODEL_MEMORY_MB=str(MEMORY_MB))
    first = Asker(host, usual, category_of(plan.growth_models[0], usual))
    weights_mb, seconds = 0.0, plan.load_s[1]
    with standing(contender) as stands:
        for number, model in enumerate(plan.growth_models, start=1):
            path = contract.MODEL_PREDICT.format(model=model)
            one = Entrance(model, "backend", {"upload": path})
            asker = Asker(host, usual, category_of(model, usual))
            question = asker.question(stands, one, "upload")
            stands.children["backend"].wait_until(
                lambda: stands.answers_as(question, asker.category)  # noqa: B023
            )
            weights_mb += _weights_mb(model)
            row = _step(first, stands, "models", number, clients=1, seconds=seconds)
            yield msgspec.structs.replace(row, weights_mb=weights_mb)


def _weights_mb(model: str) -> float:
    folder = loading.compiled_folder(models.settings("fp32"))
    return artefact.parse_info(folder, model).weights.size_bytes / tree.MB


def _clients(plan: Plan, host: PictureHost) -> Iterator[Row]:
    """Yield what v1 does, asked by more and more clients; none is refused."""
    usual = pictures.usual()
    asker = Asker(host, usual, category_of(MODEL, usual))
    # Those who warmed it up may still wait when the first client comes.
    queue = WARM_UP_CLIENTS + max(plan.growth_clients)
    with standing(v1(MODEL, MAX_QUEUE=str(queue))) as stands:
        asker.wait_for(stands, "upload")
        asker.warm_up(stands, "upload")
        for clients in plan.growth_clients:
            seconds = max(plan.load_s[1], clients * EACH_S)
            yield _step(asker, stands, "clients", clients, clients=clients, seconds=seconds)


def _sizes(plan: Plan, host: PictureHost) -> Iterator[Row]:
    """Yield what v1 does with larger and larger pictures, asked by one client."""
    with standing(v1(MODEL, MAX_IMAGE_BYTES=str(MAX_IMAGE_BYTES))) as stands:
        for size in plan.growth_megapixels:
            picture = pictures.made(Kind(size, "jpeg"))
            asker = Asker(host, picture, category_of(MODEL, picture))
            asker.wait_for(stands, "upload")
            yield _step(asker, stands, "megapixels", size, clients=1, seconds=plan.load_s[1])


def _step(
    asker: Asker, stands: Standing, what: str, amount: float, *, clients: int, seconds: float
) -> Row:
    entrance = stands.contender.entrances[0]
    done = asker.load(stands, entrance, "upload", clients, seconds)
    say(
        f"growth: {amount:g} {what}: {done.rate:.1f} a second, p50 {done.p50_ms:.1f} ms, "
        f"{done.peak_mb:.0f} MB"
    )
    return Row(what, amount, done.rate, done.p50_ms, done.p99_ms, done.peak_mb, done.failed)
