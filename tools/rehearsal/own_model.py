"""A person's own model for the rehearsal: EfficientNet-Lite0, as a training would leave it."""

from pathlib import Path

import torch

from imgserve.compile.weights import default_weights

NAME = "lite0_of_mine"
DESCRIPTION = f"""\
[{NAME}]
title = "A model of mine"
architecture = "efficientnet_lite0"
weights = "trained/{NAME}.pt"
labels = "trained/labels.txt"
"""


def write_own_model(folder: Path) -> None:
    """Write a description into a folder, and beside it what it names."""
    weights = default_weights("efficientnet_lite0")
    (folder / "trained").mkdir()
    torch.save(weights.get_state_dict(), folder / "trained" / f"{NAME}.pt")
    labels = "\n".join(weights.meta["categories"])
    (folder / "trained" / "labels.txt").write_text(f"{labels}\n", "utf-8")
    (folder / "models.toml").write_text(DESCRIPTION, "utf-8")
