"""Compile an architecture whose trained weights need a model hub, with random ones.

``python -m tools.benchmarks.random_weights MODEL --out DIR --keep DIR``; the weights are kept, so
that torch can be given the same.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from imgserve.compile import export
from imgserve.compile.torch_engine import Servable, TorchEngine, transform_of
from imgserve.compile.torchvision_import import torchvision
from imgserve.compile.weights import default_weights
from imgserve.errors import ImgserveError
from imgserve.models.classifier import Classifier

# With random weights all classes are about as probable: that int8 finds others says nothing.
ANY = 0.0


def module(folder: Path, model: str) -> nn.Module:
    """Return an architecture with random weights, the same ones each time."""
    path = folder / f"{model}.pth"
    made: nn.Module
    if path.exists():
        with torch.device("meta"):
            made = torchvision.models.get_model(model)
        made.load_state_dict(torch.load(path, mmap=True, weights_only=True), assign=True)
        return made.eval()
    torch.manual_seed(0)
    made = torchvision.models.get_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(made.state_dict(), path)
    return made.eval()


def torch_classifier(folder: Path, model: str, threads: int) -> Classifier:
    """Return an architecture with random weights as torch runs it."""
    entry = default_weights(model)
    transform = transform_of(entry)
    engine = TorchEngine(Servable(module(folder, model), transform), threads=threads)
    return Classifier(model, entry.meta["categories"], transform, engine)


def main(argv: Sequence[str] | None = None) -> int:
    """Compile one model; return the exit status."""
    parser = argparse.ArgumentParser(description="Compile an architecture with random weights.")
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args(argv)
    transform = transform_of(default_weights(given.model))
    servable = Servable(module(given.keep, given.model), transform).eval()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        export.export(
            given.model,
            servable,
            transform,
            given.out,
            precision=given.precision,
            least_agreement=ANY,
        )
    except ImgserveError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
