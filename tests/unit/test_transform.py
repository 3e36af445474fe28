import numpy as np
import pytest
import torch

from imgserve.engine.torch_engine import transform_of
from imgserve.engine.transform import LONG, crop
from imgserve.models import catalogue
from imgserve.models.weights import default_weights
from tests.unit import pictures

SHAPES = pictures.shapes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model_id", catalogue.CATALOGUE)
def test_crop_equals_torchvisions_transform(model_id: str, shape: str) -> None:
    weights = default_weights(model_id)
    transform = transform_of(weights)
    expected = weights.transforms()(SHAPES[shape])
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (transform.mean, transform.std))
    levels = ((expected * std + mean) * 255).round().permute(1, 2, 0).numpy().astype(int)
    actual = crop(SHAPES[shape], transform)
    assert actual.shape == (1, transform.crop_size, transform.crop_size, 3)
    assert actual.dtype == np.uint8
    differences = np.abs(actual[0].astype(int) - levels)
    is_long = max(SHAPES[shape].size) >= LONG * min(SHAPES[shape].size)
    assert differences.max() <= (2 if is_long else 0)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000)])
def test_a_very_long_picture_costs_no_more_than_its_crop(size: tuple[int, int]) -> None:
    transform = transform_of(default_weights("vgg16"))
    assert crop(SHAPES["cat1x1"].resize(size), transform).shape == (1, 224, 224, 3)
