"""Scripts keep to one style, and to what macOS has: bash 3.2 and BSD's tools."""

import os
import re
from pathlib import Path

import pytest

from tests.conventions.deployment import NAMES, read

DEPLOYMENT = Path(__file__).resolve().parents[2] / "deployment"
EVERY = sorted(path.name for path in DEPLOYMENT.glob("*.sh"))
SOURCED = ["components.sh", "lib.sh"]
START = 'set -euo pipefail\nsource "$(dirname "${BASH_SOURCE[0]}")/lib.sh"\n'

FORBIDDEN = {
    # What bash 3.2 lacks, https://tiswww.case.edu/php/chet/bash/CHANGES
    "associative arrays": r"\b(declare|local|typeset) -[a-zA-Z]*A",
    "references to names": r"\b(declare|local|typeset) -[a-zA-Z]*n\b",
    "globals from functions": r"\bdeclare -[a-zA-Z]*g",
    "reading lines into an array": r"\b(mapfile|readarray)\b",
    "upper and lower case": r"\$\{\w+(\[[^]]*\])?(\^|,)",
    "transformations": r"\$\{\w+(\[[^]]*\])?@[A-Za-z]\}",
    "elements from the end": r"\$\{\w+\[-",
    "both streams at once": r"&>>|\|&",
    "falling through": r";;?&",
    "whether a variable is set": r"\[\[? -v ",
    "file descriptors with names": r"\{\w+\}[<>]",
    "times by printf": r"printf .*%\([^)]*\)T",
    "its own clock": r"\$\{?EPOCH",
    "waiting for any": r"\bwait -n\b",
    "options": r"\bshopt -s (globstar|inherit_errexit|lastpipe)",
    # With set -u it stops at "${empty[@]}"; ${list[@]+"${list[@]}"} is the way around.
    "empty arrays": r'(?<!\+)"\$\{\w+\[[@*]\]\}"',
    # What only the tools of GNU have.
    "sed -i without a suffix, or sed -r": r"\bsed\b[^|\n]* -[a-zA-Z]*[ir]\b",
    "escapes in sed's patterns": r"\bsed\b[^|\n]*'[^'\n]*\\[tn+?|][^'\n]*'",
    "a range that may end where it starts": r"\bsed\b[^|\n]*\b0,/",
    "readlink -f, grep -P, date -d": r"\breadlink -f|\bgrep -[a-zA-Z]*P|\bdate -d",
    "counting from the end": r"\bhead -[nc] ?-\d",
    "base64 -w, xargs -r": r"\bbase64 -w|\bxargs -r",
    # What is no style of ours.
    "another folder": r"\b(cd|pushd|popd)\b",
    "output whose command may fail unseen": r"\b(local|export|declare|readonly) [^\n;]*\$\(.*",
}


@pytest.mark.parametrize("name", EVERY)
def test_script_stops_at_the_first_failure_and_has_nothing_that_is_forbidden(name: str) -> None:
    text = read(DEPLOYMENT.parent, name)
    is_sourced = name in SOURCED
    assert text.startswith("# shellcheck shell=bash\n" if is_sourced else "#!/usr/bin/env bash\n")
    assert os.access(DEPLOYMENT / name, os.X_OK) != is_sourced
    # What a component's script is, another test says.
    if not is_sourced and not name.removesuffix(".sh").endswith(tuple(NAMES)):
        assert re.sub(r"^(#.*\n)+", "", text).startswith(START)
    assert "shellcheck disable" not in text, "what it finds, `make lint` says"
    code = re.sub(r"(?m)(^|\s)#.*$", "", text)
    found = {what: re.findall(f".*(?:{each}).*", code) for what, each in FORBIDDEN.items()}
    assert {what: lines for what, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("upper and lower case", 'x="${name,,}"'),
        ("empty arrays", 'run "${hold[@]}"'),
        ("associative arrays", "local -A seen"),
        ("escapes in sed's patterns", r"cut -f 2 | sed -n 's/\t/ /p'"),
        ("sed -i without a suffix, or sed -r", "sed -i s/a/b/ file"),
        ("output whose command may fail unseen", "local x=$(false)"),
    ],
)
def test_patterns_find_what_they_are_for(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)
