"""check.sh --deliverables says how each entry stands; the schema and the script agree."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.services.deployment.project import Project

BUILD = "0d4bd3c4-6a75-4f3d-9f0a-0123456789ab"
ADDRESS = "https://backend-v1-abcdef-nn.a.run.app"
FIRST = "services.v1.back_end.build_id"


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    found = json.loads((root / "deployment" / "deliverables.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found  # type: ignore[no-any-return]


def valid(text: str, schema: dict[str, Any]) -> bool:
    """Return whether the schema takes a text of YAML."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text)))


def text_of(project: Project) -> str:
    return (project.root / "deliverables.yaml").read_text()


def write(project: Project, text: str) -> None:
    (project.root / "deliverables.yaml").write_text(text)


def fill(project: Project) -> None:
    """Write a right value for every entry."""
    text = text_of(project).replace('build_id: ""', f'build_id: "{BUILD}"')
    write(project, text.replace('service_url: ""', f'service_url: "{ADDRESS}"'))


def check(project: Project, **environ: str) -> subprocess.CompletedProcess[str]:
    result = project.run("check.sh", "--deliverables", **environ)
    assert project.record() == []
    return result


def entry(result: subprocess.CompletedProcess[str], place: str) -> str:
    """Return the line of one entry, its words one space apart."""
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    (found,) = [line for line in lines if line.split(" ")[1].rstrip(":") == place]
    return found


def next_step(result: subprocess.CompletedProcess[str]) -> str:
    return result.stderr.splitlines()[-1].partition("next: ")[2]


def test_file_of_the_repository_is_as_its_schema_says(
    root: Path, schema: dict[str, Any], project: Project
) -> None:
    text = (root / "deliverables.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=deployment/deliverables.schema.json\n")
    assert valid(text, schema)
    write(project, text)
    assert "malformed " not in check(project).stdout


def test_filled_file_is_well_and_the_project_is_not_asked(
    project: Project, schema: dict[str, Any]
) -> None:
    fill(project)
    set_value(
        project, "services.v1.back_end.service_url", "http://127.0.0.1:30961"
    )  # a rehearsal's
    result = check(project, PROJECT_ID="", PATH="/usr/bin:/bin")
    assert (result.returncode, result.stderr) == (0, "Every entry is filled.\n")
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"filled"}
    assert entry(result, FIRST) == f"filled {FIRST}: {BUILD}"
    assert valid(text_of(project), schema)


SCRIPTS = {
    FIRST: "submit_build_backend_v1.sh",
    "services.v1.front_end.service_url": "deploy_frontend_v1.sh",
    "services.v2.back_end.service_url": "deploy_backend_v2.sh",
    "services.v2.front_end.build_id": "submit_build_frontend_v2.sh",
    "services.v3.back_ends.swin_b.build_id": "submit_build_v3_backend.sh",
    "services.v3.gateway.service_url": "deploy_v3_gateway.sh",
    "services.v3.front_end.build_id": "submit_build_v3_frontend.sh",
}


def set_value(project: Project, place: str, value: str) -> None:
    """Write a value as the scripts do."""
    command = 'source "$0"; record "$1" "$2"'
    lib = str(project.root / "deployment" / "lib.sh")
    subprocess.run(["bash", "-c", command, lib, place, value], check=True)


@pytest.mark.parametrize("place", SCRIPTS)
def test_one_empty_entry_is_named_with_the_script_that_fills_it(
    place: str, project: Project
) -> None:
    fill(project)
    set_value(project, place, "")
    result = check(project)
    assert result.returncode == 1
    assert entry(result, place) == f"empty {place}"
    assert result.stderr == f"check.sh: 1 empty, 0 malformed; next: deployment/{SCRIPTS[place]}\n"
    assert (project.root / next_step(result)).exists()


@pytest.mark.parametrize("place", [each for each in SCRIPTS if ".back_ends." not in each])
def test_entry_that_is_not_there_counts_as_empty(
    place: str, project: Project, schema: dict[str, Any]
) -> None:
    fill(project)
    set_value(project, place, "gone")
    lines = text_of(project).splitlines()
    write(project, "\n".join(line for line in lines if "gone" not in line))
    result = check(project)
    assert entry(result, place) == f"empty {place}"
    assert next_step(result) == f"deployment/{SCRIPTS[place]}"
    assert not valid(text_of(project), schema)


VALUES = {
    "build_id": ["build-1", BUILD.upper(), BUILD[:-1], BUILD + "0", f" {BUILD}", "TODO"],
    "service_url": [
        *("http://backend.a.run.app", "https://", "backend.a.run.app", "https:///x"),
        *("https://a b", "ftp://a", "HTTPS://a", "http://localhost:8000", "http://127.0.0.1"),
        *("http://127.0.0.1:80.example.com", "http://127.0.0.1:80 /"),
    ],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in VALUES.items() for value in values]
)
def test_malformed_value_is_shown_with_what_is_expected(
    key: str, value: str, project: Project, schema: dict[str, Any]
) -> None:
    fill(project)
    place = f"services.v2.back_end.{key}"
    set_value(project, place, value)
    result = check(project)
    assert result.returncode == 1
    line = entry(result, place)
    assert line.startswith(f"malformed {place}: ")
    assert ("UUID" if key == "build_id" else "https://") in line.partition("(")[2]
    assert "0 empty, 1 malformed; next: deployment/" in result.stderr
    assert not valid(text_of(project), schema)


@pytest.mark.parametrize(
    ("old", "new", "next_"),
    [
        ("  v1:\n", "\tv1:\n", "correct line"),
        ("  v1:\n", "  - v1:\n", "correct line"),
        ("  v2:\n", "  v1:\n", "correct line"),
        ("  v2:\n", "      v2:\n", "correct line"),
        ("  v2:\n", "  v4:\n", "remove services.v4"),
        ("    gateway:\n", "    door:\n", "remove services.v3.door"),
        ("      swin_b:\n", "      Swin-B:\n", "correct line"),
        (f'build_id: "{BUILD}"', f'build_ids: "{BUILD}"', "remove services.v1.back_end.build_ids"),
        (f'build_id: "{BUILD}"', f'build_id: "{BUILD}', "deployment/submit_build_backend_v1.sh"),
        (f'build_id: "{BUILD}"', "build_id: {}", "deployment/submit_build_backend_v1.sh"),
    ],
)
def test_file_of_another_shape_is_told_where_to_correct_it(
    old: str, new: str, next_: str, project: Project, schema: dict[str, Any]
) -> None:
    fill(project)
    write(project, text_of(project).replace(old, new, 1))
    result = check(project)
    assert result.returncode == 1
    assert "malformed " in result.stdout
    assert next_step(result).startswith(next_)
    try:
        assert not valid(text_of(project), schema)
    except yaml.YAMLError:
        assert next_.startswith(("correct", "deployment"))


@pytest.mark.parametrize(
    "line",
    ["build_id: {}", "build_id: '{}'", 'build_id: "{}"  # the first', "build_id: {} # the first"],
)
def test_quotes_and_comments_are_no_part_of_a_value(line: str, project: Project) -> None:
    fill(project)
    text = text_of(project).replace(f'build_id: "{BUILD}"', line.format(BUILD), 1)
    write(project, text)
    assert yaml.safe_load(text)["services"]["v1"]["back_end"]["build_id"] == BUILD
    assert check(project).returncode == 0


def test_models_that_are_not_deployed_may_be_removed(
    project: Project, schema: dict[str, Any]
) -> None:
    fill(project)
    lines = text_of(project).splitlines()
    start = lines.index("      vgg16:")
    write(project, "\n".join(lines[:start] + lines[start + 3 :]))
    assert check(project).returncode == 0
    assert valid(text_of(project), schema)


def test_missing_file_is_an_error_and_not_a_well_one(project: Project) -> None:
    (project.root / "deliverables.yaml").unlink()
    result = check(project)
    assert (result.returncode == 0, result.stdout) == (False, "")
    assert "deliverables.yaml" in result.stderr


def test_another_word_beside_it_prints_the_usage(project: Project) -> None:
    result = project.run("check.sh", "--deliverables", "now")
    assert result.returncode == 2
    assert "deployment/check.sh --deliverables" in result.stderr
