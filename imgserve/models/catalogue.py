"""The models that can be served, known without importing torch.

Figures are those of torchvision's weights (``get_model_weights(id).DEFAULT.meta``), for the
EfficientNet-Lite family those of its authors; tests compare both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgserve.errors import UnknownModel


@dataclass(frozen=True)
class Entry:
    id: str  # torchvision's name of it
    title: str  # how a person calls it
    parameters: int  # number of trained weights
    top1: float  # published top-1 accuracy on ImageNet-1K, percent
    input_size: int  # height and width of the picture it sees, pixels


def _by_id(entries: Iterable[Entry]) -> dict[str, Entry]:
    catalogue: dict[str, Entry] = {}
    for entry in entries:
        if entry.id in catalogue:
            raise ValueError(f"{entry.id} is in the catalogue twice")
        catalogue[entry.id] = entry
    return catalogue


CATALOGUE = _by_id(
    (
        Entry("resnet152", "ResNet-152", 60_192_808, 82.284, 224),
        Entry("convnext_base", "ConvNeXt Base", 88_591_464, 84.062, 224),
        Entry("swin_b", "Swin Transformer B", 87_768_224, 83.582, 224),
        Entry("vgg16", "VGG-16", 138_357_544, 71.592, 224),
        Entry("efficientnet_lite0", "EfficientNet-Lite0", 4_652_008, 75.1, 224),
        Entry("efficientnet_lite1", "EfficientNet-Lite1", 5_416_680, 76.7, 240),
        Entry("efficientnet_lite2", "EfficientNet-Lite2", 6_092_072, 77.6, 260),
    )
)


def entry(model_id: str) -> Entry:
    """Return the catalogue's entry of a model, or UnknownModel with a list of those it has."""
    if model_id not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise UnknownModel(f"there is no model {model_id!r}: choose one of {known}")
    return CATALOGUE[model_id]


def choices(listed: Sequence[str], default: str) -> tuple[str, ...]:
    """Return the models that callers may choose from, the default first.

    All of the catalogue where none are listed; the first is the default where none is said.
    """
    ids = listed or tuple(CATALOGUE)
    first = default or ids[0]
    return (first, *(model_id for model_id in ids if model_id != first))
