"""Teach EfficientNet-Lite0 handwritten digits: an own model to compile, serve and deploy.

``.venv/bin/python -m examples.digits digits`` writes into the folder ``digits``: the trained file,
its labels, ``models.toml``, pictures that it was not trained with, in one folder for each class,
and some for the page.
The digits are those of scikit-learn (UCI ML hand-written digits, CC BY 4.0), 8 x 8 pixels.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from imgserve.compile import torchvision  # with EfficientNet-Lite

SIDE = 128  # pixels; EfficientNet-Lite takes any
HELD_OUT = 5  # every fifth picture
BATCH = 32
MODELS_FILE = """\
[digits]
title = "Handwritten digits"
architecture = "efficientnet_lite0"
weights = "digits.pt"
labels = "digits.txt"
resize = {side}
crop = {side}
samples = "samples"
"""


def pictures() -> tuple[list[Image.Image], Tensor]:
    """Return the digits as pictures of ``SIDE`` pixels, and what they are."""
    found = load_digits()
    grey = (255 - found.images * (255 / 16)).astype(np.uint8)  # black on white
    images = [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in grey]
    return [image.convert("RGB") for image in images], torch.tensor(found.target)


def batch(images: list[Image.Image]) -> Tensor:
    """Return (N, 3, SIDE, SIDE) float32, normalised as the model's own weights ask for."""
    values = torch.tensor(np.stack([np.asarray(image) for image in images]))
    return (values.permute(0, 3, 1, 2).float() - 127) / 128


def train(images: list[Image.Image], classes: Tensor) -> nn.Module:
    """Return a classifier whose last layer is new: the rest stays as trained on ImageNet."""
    module: nn.Module = torchvision.models.get_model("efficientnet_lite0", weights="DEFAULT").eval()
    module.classifier = nn.Identity()
    with torch.inference_mode():
        parts = [module(batch(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    learned = LogisticRegression(max_iter=1000).fit(torch.cat(parts), classes)
    last = nn.Linear(*reversed(learned.coef_.shape))
    weight, bias = torch.tensor(learned.coef_), torch.tensor(learned.intercept_)
    last.load_state_dict({"weight": weight, "bias": bias})
    module.classifier = nn.Sequential(nn.Dropout(), last)  # as the architecture has it
    return module


def main(folder: Path) -> None:
    """Train, and write all that serving the model takes."""
    images, classes = pictures()
    for number in range(0, len(images), HELD_OUT):
        path = folder / "held_out" / str(int(classes[number])) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images[number].save(path)
    (folder / "samples").mkdir(exist_ok=True)
    for number in range(0, 3 * HELD_OUT, HELD_OUT):
        images[number].save(folder / "samples" / f"{int(classes[number])}.png")
    others = [number for number in range(len(images)) if number % HELD_OUT]
    print(f"learning from {len(others)} pictures ...", file=sys.stderr)
    module = train([images[number] for number in others], classes[others])
    torch.save(module.state_dict(), folder / "digits.pt")
    (folder / "digits.txt").write_text("\n".join(map(str, range(10))) + "\n")
    (folder / "models.toml").write_text(MODELS_FILE.format(side=SIDE))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fine-tune a classifier of handwritten digits.")
    parser.add_argument("folder", type=Path, help="where to write it")
    main(parser.parse_args().folder)
