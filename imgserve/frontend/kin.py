"""Classes that are kin: a doubt between a tabby and a tiger cat is none about the cat."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from imgserve.contract import Prediction

# Three models were less sure than this of 395 of 3 x 500 labelled photographs. Where kin were as
# probable as this together, the word was right for 64 of 68 (docs/how-it-works.md, 2026-11-27).
LIKELY_FROM = 0.5


@cache
def _words() -> dict[str, str]:
    """Return the word for each class that has kin."""
    lines = Path(__file__).with_name("kin.txt").read_text(encoding="utf-8").splitlines()
    groups = (line.split(": ") for line in lines if not line.startswith("#"))
    return {name: word for word, names in groups for name in names.split(", ")}


def kin(predictions: Sequence[Prediction]) -> tuple[str, list[str]]:
    """Return the word for what the likeliest classes have in common, and their names.

    Both are empty where the first is likely enough by itself, or its kin are not together.
    """
    if not predictions or predictions[0].probability >= LIKELY_FROM:
        return "", []
    word = _words().get(predictions[0].category, "")
    same = [top for top in predictions if word and _words().get(top.category) == word]
    if len(same) < 2 or sum(top.probability for top in same) < LIKELY_FROM:  # noqa: PLR2004 kin
        return "", []
    return word, [top.category for top in same if top.probability >= predictions[0].probability / 4]
