"""What a backend says of one of its models."""

from imgserve.contract import ModelState, State
from imgserve.errors import ArtefactInvalid
from imgserve.models import catalogue
from imgserve.models.compiled_model import parse_info
from imgserve.models.loading import compiled_folder
from imgserve.settings import BackendSettings


def model_state(
    settings: BackendSettings, model_id: str, state: State, failure: str | None
) -> ModelState:
    """Return what a model is and whether it is loaded.

    Raises:
        UnknownModel: the catalogue has no such model.
    """
    entry = catalogue.entry(model_id)
    return ModelState(
        id=entry.id,
        title=entry.title,
        parameters=entry.parameters,
        top1=entry.top1,
        input_size=entry.input_size,
        size_bytes=_size_bytes(settings, model_id),
        state=state,
        detail=failure,
        precision=settings.precision,
    )


def _size_bytes(settings: BackendSettings, model_id: str) -> int | None:
    try:
        info = parse_info(compiled_folder(settings), model_id, settings.precision)
    except (OSError, ArtefactInvalid):
        return None
    return info.graph.size_bytes + info.weights.size_bytes
