"""The catalogue's figures are those of torchvision's weights."""

from pathlib import Path

import pytest

from imgserve.compile.weights import default_weights
from imgserve.models import catalogue


@pytest.mark.parametrize("model_id", catalogue.catalogue(None))
def test_catalogue_has_the_figures_of_torchvisions_weights(model_id: str) -> None:
    entry, weights = catalogue.entry(model_id), default_weights(model_id)
    assert entry.parameters == weights.meta["num_params"]
    assert entry.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert entry.input_size == weights.transforms().crop_size[0]
    assert len(weights.meta["categories"]) == 1000


def test_what_is_called_kin_are_classes_of_imagenet(root: Path) -> None:
    lines = (root / "imgserve" / "frontend" / "kin.txt").read_text().splitlines()
    groups = [line.split(": ")[1] for line in lines if not line.startswith("#")]
    names = {name for group in groups for name in group.split(", ")}
    assert names <= set(default_weights("resnet152").meta["categories"])
