"""Which classes are kin, and when their word is said."""

import pytest

from imgserve.contract import Prediction
from imgserve.frontend.messages import kin


def said(*names: str, share: float = 0.3) -> tuple[str, list[str]]:
    """Return what is said where these classes are equally likely."""
    return kin([Prediction(name, 1, share) for name in names])


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("snake", ["rock python", "boa constrictor"]),
        ("dog", ["Siberian husky", "malamute"]),
        ("bird", ["ostrich", "hummingbird"]),
        ("big cat", ["leopard", "jaguar"]),
    ],
)
def test_kin_have_a_word(word: str, names: list[str]) -> None:
    assert said(*names) == (word, names)


@pytest.mark.parametrize(
    "names",
    [
        ["lynx", "cougar"],  # wildcats, none a big cat
        ["wood rabbit", "hare"],
        ["crayfish", "American lobster"],
        ["timber wolf", "Siberian husky"],
    ],
)
def test_what_only_looks_alike_has_none(names: list[str]) -> None:
    assert said(*names) == ("", [])


@pytest.mark.parametrize(("share", "word"), [(0.25, "snake"), (0.249, ""), (0.499, "snake")])
def test_kin_are_named_where_they_have_half_together(share: float, word: str) -> None:
    assert said("rock python", "boa constrictor", share=share)[0] == word


def test_who_is_sure_needs_no_word() -> None:
    assert said("rock python", "boa constrictor", share=0.5) == ("", [])
