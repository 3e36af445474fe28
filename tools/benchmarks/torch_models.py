"""Models as torch runs them; those whose trained weights are on a model hub have random ones.

``python -m tools.benchmarks.torch_models MODEL PRECISION FOLDER`` compiles one of the latter.
"""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from imgserve.compile import export, torchvision
from imgserve.compile.original import Original, of_module
from imgserve.compile.weights import default_weights, trained, transform_of
from imgserve.models import catalogue
from imgserve.models.catalogue import EMBEDDED
from imgserve.models.classifier import Classifier
from tools.benchmarks.plan import WEIGHTS


def module(model: str) -> nn.Module:
    """Return torchvision's module, with its packaged weights or with random ones.

    The latter are the same each time, and read from disk, as a server reads trained ones.
    """
    if model in EMBEDDED:
        return trained(model, folder=WEIGHTS / "checkpoints")
    path = WEIGHTS / "random" / f"{model}.pth"
    if not path.exists():
        torch.manual_seed(0)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torchvision.models.get_model(model).state_dict(), path)
    made: nn.Module = torchvision.models.get_model(model)
    made.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return made.eval()


def eager(model: str) -> tuple[Callable[[Sequence[bytes]], Tensor], Sequence[str]]:
    """Return what finds (N, C) probabilities of N pictures, and the names of the classes.

    It is written as torchvision's documentation begins, and takes whole pictures.
    """
    made, entry = module(model), default_weights(model)
    transform = entry.transforms()

    def probabilities(pictures: Sequence[bytes]) -> Tensor:
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
        with torch.no_grad():
            logits: Tensor = made(torch.stack([transform(picture) for picture in opened]))
        return logits.softmax(dim=1)

    return probabilities, entry.meta["categories"]


def load(model: str, threads: int) -> Classifier:
    """Return a model as eager torch runs it, warm."""
    original = _original(model)
    torch.set_num_threads(threads)
    classifier = Classifier(original.categories, original.transform, original.engine)
    classifier.warm_up()
    return classifier


def _original(model: str) -> Original:
    entry, said = default_weights(model), catalogue.entry(model)
    return of_module(module(model), transform_of(entry), entry.meta["categories"], said)


def main(model: str, precision: str, out: Path) -> None:
    """Compile one model with random weights; ImgserveError where it answers otherwise."""
    out.mkdir(parents=True, exist_ok=True)
    # With random weights all classes are about as probable: int8 may well find others.
    export.export(model, _original(model), out, precision=precision, least_agreement=0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
