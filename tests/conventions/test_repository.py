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
# What a file may hold: PyTorch's builds without CUDA are on its own index only.
ALLOWED = {("a registry's host", "requirements/install.sh")}


def test_no_file_holds_what_is_forbidden(root: Path, repository_files: list[Path]) -> None:
    found = []
    for path in repository_files:
        data = (root / path).read_bytes()
        text = "" if b"\0" in data or str(path) == THIS_FILE else data.decode()
        for what, pattern in FORBIDDEN.items():
            found += [(what, str(path), each[0]) for each in re.finditer(pattern, text)]
    assert {(what, path) for what, path, _ in found} == ALLOWED, found


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
    assert re.search(FORBIDDEN[what], text)
