"""Scripts write one value of deliverables.yaml; check.sh and the schema say how each stands."""

import json
import os
import re
import subprocess
from functools import reduce
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jsonschema
import pytest
import yaml

from tests.services.deployment.project import Project

BUILD = "0d4bd3c4-6a75-4f3d-9f0a-0123456789ab"
ADDRESS = "https://backend-v1-abcdef-nn.a.run.app"
FIRST = "services.v1.back_end.build_id"
SCRIPTS = {
    FIRST: "submit_build_backend_v1.sh",
    "services.v1.front_end.service_url": "deploy_frontend_v1.sh",
    "services.v2.back_end.service_url": "deploy_backend_v2.sh",
    "services.v2.front_end.build_id": "submit_build_frontend_v2.sh",
    "v3.back_ends.swin_b.build_id": "submit_build_v3_backend.sh",
    "v3.gateway.service_url": "deploy_v3_gateway.sh",
    "v3.front_end.build_id": "submit_build_v3_frontend.sh",
}


@pytest.fixture(scope="module")
def fits_schema(root: Path) -> Any:
    found = json.loads((root / "deployment" / "deliverables.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found).is_valid


@pytest.fixture
def filled(project: Project) -> str:
    """Return the file with a right value for every entry."""
    text = (project.root / "deliverables.yaml").read_text()
    text = text.replace('build_id: ""', f'build_id: "{BUILD}"')
    return text.replace('service_url: ""', f'service_url: "{ADDRESS}"')


def with_value(text: str, place: str, value: str | None) -> str:
    """Return the file with another value for one entry, or without the entry."""
    tree = yaml.safe_load(text)
    *above, key = place.split(".")
    entry = reduce(lambda entry, name: entry.setdefault(name, {}), above, tree)
    entry[key] = value
    if value is None:
        del entry[key]
    return str(yaml.safe_dump(tree, sort_keys=False))


# --- what the scripts write ----------------------------------------------------------------------


def recorded(root: Path, text: str, path: str, value: str) -> str:
    """Return a file's text with a value written into it."""
    command = ["awk", "-f", root / "deployment" / "deliverables.awk"]
    told = {**os.environ, "path": path, "value": value}
    return subprocess.check_output(command, env=told, input=text, text=True)


@pytest.mark.parametrize("value", ["https://a.b/c?d=e&f=g", r'a\b "c"', "#1: it's 9% & b -", ""])
@pytest.mark.parametrize(
    ("path", "more_lines"),
    [
        *((FIRST, 0), ("services.v1.back_end.service_url", 0), ("v3.back_ends.vgg16.build_id", 0)),
        *(("v3.gateway.service_url", 0), ("v3.front_end.build_id", 0), ("v3.more", 1), ("more", 1)),
        *(("services.v1.back_end.more", 1), ("v3.back_ends.swin_b.more", 1), ("servers.v1", 2)),
        *(("services.v1.third_end.build_id", 2), ("v3.back_ends.vgg16_bn.build_id", 2)),
        *(("v3.back_ends.vgg.service_url", 2), ("services.v3.back_end.build_id", 3)),
    ],
)
def test_value_is_written_as_it_is_and_nothing_else_is_touched(
    path: str, more_lines: int, value: str, root: Path
) -> None:
    text = (root / "deliverables.yaml").read_text()
    written = recorded(root, text, path, value)
    assert yaml.safe_load(written) == yaml.safe_load(with_value(text, path, value))
    assert recorded(root, written, path, value) == written
    before, after = text.splitlines(), written.splitlines()
    assert len(after) - len(before) == more_lines
    if more_lines:
        remaining = iter(after)
        assert [line for line in before if line not in remaining] == []
    else:
        assert sum(old != new for old, new in zip(before, after, strict=True)) == bool(value)


def test_comments_stay(root: Path) -> None:
    text = "a: # the first\n  build_id: old # not yet\n"
    written = recorded(root, text, "a.build_id", "new")
    assert written == 'a: # the first\n  build_id: "new"  # not yet\n'


# --- how they stand ------------------------------------------------------------------------------


def check(project: Project, text: str, **environ: str) -> CompletedProcess[str]:
    (project.root / "deliverables.yaml").write_text(text)
    result = project.run("check.sh", "--deliverables", **environ)
    assert project.record() == []
    return result


def entry(result: CompletedProcess[str], place: str) -> str:
    """Return the line of one entry, its words one space apart."""
    (found,) = re.findall(rf"^\w+ +{re.escape(place)}(?::.*)?$", result.stdout, re.M)
    return " ".join(found.split())


def test_file_of_the_repository_is_as_its_schema_and_the_assignment_s_checker_say(
    root: Path, fits_schema: Any, project: Project
) -> None:
    text = (root / "deliverables.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=deployment/deliverables.schema.json\n")
    tree = yaml.safe_load(text)
    assert fits_schema(tree)
    assert "malformed " not in check(project, text).stdout
    # That checker goes through all services, and through what is in them.
    assert {name: [*two] for name, two in tree["services"].items()} == {
        version: ["back_end", "front_end"] for version in ("v1", "v2")
    }


def test_filled_file_is_well_and_the_project_is_not_asked(
    project: Project, filled: str, fits_schema: Any
) -> None:
    rehearsed = with_value(filled, "services.v1.back_end.service_url", "http://127.0.0.1:30961")
    result = check(project, rehearsed, PROJECT_ID="", PATH="/usr/bin:/bin")
    assert (result.returncode, result.stderr) == (0, "Every entry of v1 and v2 is filled.\n")
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"filled"}
    assert entry(result, FIRST) == f"filled {FIRST}: {BUILD}"
    assert fits_schema(yaml.safe_load(rehearsed))


BAD_IDS = ["build-1", BUILD.upper(), BUILD[:-1], BUILD + "0", f" {BUILD}", "TODO"]
BAD_ADDRESSES = [
    *("http://backend.a.run.app", "https://", "backend.a.run.app", "https:///x"),
    *("https://a b", "ftp://a", "HTTPS://a", "http://localhost:8000", "http://127.0.0.1"),
    *("http://127.0.0.1:80.example.com", "http://127.0.0.1:80 /"),
]
VALUES: list[tuple[str, str | None]] = [
    *((place, "") for place in SCRIPTS),
    *((place, None) for place in SCRIPTS if ".back_ends." not in place),
    *((FIRST, value) for value in BAD_IDS),
    *(("services.v2.back_end.service_url", value) for value in BAD_ADDRESSES),
]


@pytest.mark.parametrize(("place", "value"), VALUES)
def test_empty_or_malformed_entry_is_named_with_the_script_that_writes_it(
    place: str, value: str | None, project: Project, filled: str, fits_schema: Any
) -> None:
    text = with_value(filled, place, value)
    result = check(project, text)
    script = f"deployment/{SCRIPTS[place]}"
    assert (project.root / script).exists()
    if value:
        expected = "UUID" if place == FIRST else "https://"
        assert re.match(rf"malformed {place}: .*\(.*{expected}", entry(result, place))
        assert not fits_schema(yaml.safe_load(text))
    else:
        assert entry(result, place) == f"empty {place}"
    if place.startswith("v3."):  # which the assignment does not ask for
        said = f"Every entry of v1 and v2 is filled. v3 is not: {script} is next there.\n"
        assert (result.returncode, result.stderr) == (0, said)
    else:
        said = "0 empty, 1 malformed" if value else "1 empty, 0 malformed"
        assert (result.returncode, result.stderr) == (1, f"check.sh: {said}; next: {script}\n")


ID = f'build_id: "{BUILD}"'


@pytest.mark.parametrize(
    ("old", "new", "next_"),
    [
        ("  v1:\n", "\tv1:\n", "correct line"),
        ("  v1:\n", "  - v1:\n", "correct line"),
        ("  v2:\n", "  v1:\n", "correct line"),
        ("  v2:\n", "      v2:\n", "correct line"),
        ("  v2:\n", "  v4:\n", "remove services.v4"),
        ("  gateway:\n", "  door:\n", "remove v3.door"),
        ("    swin_b:\n", "    Swin-B:\n", "correct line"),
        ("    swin_b:\n", "    SWIN_B:\n", "remove v3.back_ends.SWIN_B"),
        (ID, f'build_ids: "{BUILD}"', "remove services.v1.back_end.build_ids"),
        (ID, f'build_id: "{BUILD}', "deployment/submit_build_backend_v1.sh"),
        (ID, "build_id: {}", "deployment/submit_build_backend_v1.sh"),
        # Quotes and comments are no part of a value; a model that is not deployed may be absent.
        (ID, f"build_id: {BUILD}", ""),
        (ID, f"build_id: '{BUILD}'", ""),
        (ID, f"{ID}  # the first", ""),
        (ID, f"build_id: {BUILD} # the first", ""),
        (f'    vgg16:\n      {ID}\n      service_url: "{ADDRESS}"\n', "", ""),
    ],
)
def test_file_of_another_shape_is_told_where_to_correct_it(
    old: str, new: str, next_: str, project: Project, filled: str, fits_schema: Any
) -> None:
    assert old in filled
    text = filled.replace(old, new, 1)
    result = check(project, text)
    assert result.returncode == bool(next_)
    assert ("malformed " in result.stdout) == bool(next_)
    assert result.stderr.partition("next: ")[2].startswith(next_)
    try:
        assert fits_schema(yaml.safe_load(text)) != bool(next_)
    except yaml.YAMLError:
        assert next_.startswith(("correct", "deployment"))


def test_missing_file_is_an_error_and_another_word_prints_the_usage(project: Project) -> None:
    result = project.run("check.sh", "--deliverables", "now")
    assert result.returncode == 2
    assert "deployment/check.sh --deliverables" in result.stderr
    (project.root / "deliverables.yaml").unlink()
    result = project.run("check.sh", "--deliverables")
    assert (result.returncode == 0, result.stdout) == (False, "")
    assert "deliverables.yaml" in result.stderr
