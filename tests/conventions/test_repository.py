"""No file holds what belongs to one machine, one registry or one person."""

import re
from pathlib import Path

import pytest

FORBIDDEN = {
    "a path of one machine": r"(?<![\w.~}$)-])/(?:work|root|opt|home/\w+|Users/\w+)/\w",
    "a registry's host": (
        r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs|deb\.debian\.org"
    ),
    "a secret": (
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bghp_\w{36}|\bAIza[\w-]{35}"
        r"|\bya29\.[\w-]{20}|\bxox[abp]-\w{10}"
    ),
}
THIS_FILE = "tests/conventions/test_repository.py"  # it names all of them
# What is held, to the files that may: PyTorch's builds without CUDA are on its own index only.
ALLOWED = {"a registry's host": {"requirements/install.sh"}}


def findings(text: str, pattern: str) -> list[str]:
    """Return the lines of a text that hold a pattern."""
    return [line.strip()[:120] for line in text.splitlines() if re.search(pattern, line)]


@pytest.fixture(scope="module")
def texts(root: Path, repository_files: list[Path]) -> dict[str, str]:
    """Return every text file of the repository."""
    contents = {path.as_posix(): (root / path).read_bytes() for path in repository_files}
    return {
        name: data.decode()
        for name, data in contents.items()
        if b"\0" not in data and name != THIS_FILE
    }


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str, texts: dict[str, str]) -> None:
    found = {name: findings(text, FORBIDDEN[what]) for name, text in texts.items()}
    holding = {name: lines for name, lines in found.items() if lines}
    assert holding.keys() == ALLOWED.get(what, set()), holding


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "see /work/main/x"),
        ("a path of one machine", "FIND_LINKS=/opt/wheels"),
        ("a registry's host", "https://pypi.org/simple"),
        ("a secret", "AKIA0123456789ABCDEF"),
    ],
)
def test_patterns_find_what_they_are_for(what: str, text: str) -> None:
    assert findings(text, FORBIDDEN[what])
