"""Scripts keep to one style, and to what macOS has: bash 3.2 and BSD's tools."""

import os
import re
from pathlib import Path

import pytest

from tests.conventions.deployment import NAMES, read

DEPLOYMENT = Path(__file__).resolve().parents[2] / "deployment"
EVERY = sorted(path.name for path in DEPLOYMENT.glob("*.sh"))
SOURCED = ["components.sh", "lib.sh"]
SCRIPTS = sorted(set(EVERY) - set(SOURCED))
# What a component's script is, another test says.
WHOLE = [name for name in SCRIPTS if not name.removesuffix(".sh").endswith(tuple(NAMES))]

# What bash 3.2 lacks, https://tiswww.case.edu/php/chet/bash/CHANGES
NEWER_BASH = {
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
}
GNU_TOOLS = {
    "sed -i without a suffix, or sed -r": r"\bsed\b[^|\n]* -[a-zA-Z]*[ir]\b",
    "escapes in sed's patterns": r"\bsed\b[^|\n]*'[^'\n]*\\[tn+?|][^'\n]*'",
    "a range that may end where it starts": r"\bsed\b[^|\n]*\b0,/",
    "readlink -f, grep -P, date -d": r"\breadlink -f|\bgrep -[a-zA-Z]*P|\bdate -d",
    "counting from the end": r"\bhead -[nc] ?-\d",
    "base64 -w, xargs -r": r"\bbase64 -w|\bxargs -r",
}


def code(name: str) -> str:
    """Return a script without its comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", read(DEPLOYMENT.parent, name))


@pytest.fixture(params=EVERY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_can_be_run(script: str) -> None:
    assert os.access(DEPLOYMENT / script, os.X_OK)
    assert read(DEPLOYMENT.parent, script).startswith("#!/usr/bin/env bash\n")


@pytest.mark.parametrize("script", WHOLE)
def test_script_stops_at_the_first_failure(script: str) -> None:
    lines = read(DEPLOYMENT.parent, script).splitlines()
    assert [line for line in lines if not line.startswith("#")][:2] == [
        "set -euo pipefail",
        'source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"',
    ]


@pytest.mark.parametrize("script", WHOLE)
def test_script_begins_by_saying_what_it_does_and_how_it_is_called(script: str) -> None:
    lines = read(DEPLOYMENT.parent, script).splitlines()
    told = [line for line in lines[1:] if line.startswith("#")]
    called = script.replace("_template", "_COMPONENT").replace("_service", "")
    assert re.match(r"# [A-Z].*", told[0])
    assert f"#   deployment/{called}" in [line.split(" COMPONENT [")[0] for line in told]


@pytest.mark.parametrize("name", SOURCED)
def test_what_is_sourced_cannot_be_run(name: str) -> None:
    assert not os.access(DEPLOYMENT / name, os.X_OK)
    assert read(DEPLOYMENT.parent, name).startswith("# shellcheck shell=bash\n")


def test_script_changes_no_folder(name: str) -> None:
    assert not re.search(r"\b(cd|pushd|popd)\b", code(name))


def found(patterns: dict[str, str], name: str) -> dict[str, list[str]]:
    """Return what a script has that the patterns look for, with its lines."""
    lines = {what: re.findall(f".*(?:{each}).*", code(name)) for what, each in patterns.items()}
    return {what: each for what, each in lines.items() if each}


def test_script_needs_no_bash_newer_than_3_2(name: str) -> None:
    assert found(NEWER_BASH, name) == {}


def test_script_needs_no_tool_of_gnu(name: str) -> None:
    assert found(GNU_TOOLS, name) == {}


def test_script_assigns_output_on_its_own_line(name: str) -> None:
    """`local x=$(...)` and `export x=$(...)` hide that the command failed."""
    assert re.findall(r"\b(?:local|export|declare|readonly) [^\n;]*\$\(.*", code(name)) == []


def test_shellcheck_is_told_to_overlook_nothing(name: str) -> None:
    """What it finds, `make lint` says."""
    assert "shellcheck disable" not in read(DEPLOYMENT.parent, name)


@pytest.mark.parametrize(
    ("patterns", "what", "line"),
    [
        (NEWER_BASH, "upper and lower case", 'x="${name,,}"'),
        (NEWER_BASH, "empty arrays", 'run "${hold[@]}"'),
        (NEWER_BASH, "associative arrays", "local -A seen"),
        (GNU_TOOLS, "escapes in sed's patterns", r"cut -f 2 | sed -n 's/\t/ /p'"),
        (GNU_TOOLS, "sed -i without a suffix, or sed -r", "sed -i s/a/b/ file"),
    ],
)
def test_patterns_find_what_they_are_for(patterns: dict[str, str], what: str, line: str) -> None:
    assert re.search(patterns[what], line)
