"""Every component has its files, written from the templates and the table in components.sh."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgserve.models.catalogue import catalogue
from tests.conventions.deployment import BY_NAME, NAMES, read

# Of those that Cloud Build fills in itself; the others it has are not used here.
# https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
BUILT_IN = {"BUILD_ID"}
TEMPLATES = {"deploy": "deploy_service_template.sh", "submit_build": "submit_build_template.sh"}


# --- scripts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", TEMPLATES)
@pytest.mark.parametrize("name", NAMES)
def test_script_of_a_component_sources_its_template(name: str, verb: str, root: Path) -> None:
    first, comment, *rest = read(root, f"{verb}_{name}.sh").splitlines()
    assert first == "#!/usr/bin/env bash"
    assert re.match(rf"# (Deploys|Builds) {name}\b", comment)
    assert rest == [f'source "$(dirname "${{BASH_SOURCE[0]}}")/{TEMPLATES[verb]}" {name} "$@"']


@pytest.mark.parametrize(
    ("verb", "command"), [("deploy", "gcloud run deploy"), ("submit_build", "gcloud builds submit")]
)
def test_template_shows_the_whole_command_with_one_flag_a_line(
    verb: str, command: str, root: Path
) -> None:
    text = read(root, TEMPLATES[verb])
    (lines,) = re.findall(rf"{command} \S+ \\\n((?:.*\\\n)+.*\n)", text)
    words = [line.strip().split(" ")[0] for line in lines.splitlines()]
    assert [word for word in words if not re.match(r"--[a-z-]+|\$\{\w+|\"\$access\"", word)] == []
    assert len(words) > len(re.findall(r"\s--[a-z-]+", lines)) - 1


def test_every_file_belongs_to_a_component(root: Path) -> None:
    suffixes = [
        re.sub("^(cloudbuild|service|submit_build|deploy)_", "", path.stem)
        for pattern in ("cloudbuild_*.yaml", "service_*.yaml", "submit_build_*.sh", "deploy_*.sh")
        for path in (root / "deployment").glob(pattern)
    ]
    assert sorted(suffixes) == sorted([*NAMES * 4, *["template"] * 3, "service_template"])
    found = {path.relative_to(root).as_posix() for path in root.glob("[!.]*/**/Dockerfile*")}
    components = BY_NAME.values()
    assert found == {
        path for each in components for path in (each.dockerfile, each.base_dockerfile)
    }


@pytest.mark.parametrize("name", NAMES)
def test_table_names_what_is_there(name: str, root: Path) -> None:
    component = BY_NAME[name]
    dockerfile = (root / component.dockerfile).read_text()
    assert (root / component.folder).is_dir()
    assert re.findall(r"^ARG SERVING_PORT=(.*)$", dockerfile, re.M) == [component.port]
    entry = yaml.safe_load((root / "deliverables.yaml").read_text())
    for key in component.deliverable.split("."):
        entry = entry[key]
    assert entry


def test_backend_v2_has_every_model_of_the_catalogue() -> None:
    assert BY_NAME["backend_v2"].compiled_models.split(",") == list(catalogue(None))


def test_yaml_is_as_its_command_writes_it(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    written = [f"{kind}_{name}.yaml" for kind in ("cloudbuild", "service") for name in NAMES]
    shutil.copytree(root / "deployment", folder, ignore=shutil.ignore_patterns(*written))
    contact = {**os.environ, "FETCH_CONTACT": "https://cats.example"}  # of one deploy, not of all
    subprocess.run([folder / "write_yaml.sh"], check=True, env=contact)
    texts = {name: (folder / name).read_text() for name in written}
    assert texts == {name: read(root, name) for name in written}
    assert not [name for name, text in texts.items() if "<" in text]


# --- Cloud Build ---------------------------------------------------------------------------------


@pytest.fixture(params=["backend_v1", "frontend_v1", "v3_gateway"])
def name(request: pytest.FixtureRequest) -> str:
    """Return a component of each side: the files of a side differ by values alone."""
    return str(request.param)


@pytest.fixture
def build(root: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load(read(root, f"cloudbuild_{name}.yaml"))  # type: ignore[no-any-return]


def test_steps_wait_for_steps_before_them_but_both_pulls_begin_at_once_and_may_fail(
    build: dict[str, Any],
) -> None:
    seen: set[str] = set()
    for step in build["steps"]:
        assert step["id"] not in seen
        if step["id"].startswith("pull"):
            assert step["waitFor"] == ["-"]
            assert re.match(r'docker pull "[^"]+" \|\| echo ".+"$', step["args"][1])
        else:
            assert set(step["waitFor"]) <= seen, step["id"]
        seen.add(step["id"])
    assert build["options"] == {"logging": "CLOUD_LOGGING_ONLY"}
    assert re.fullmatch(r"\d+s", build["timeout"])


def test_images_are_those_that_are_built_with_cache_for_either_builder_the_app_from_its_base(
    build: dict[str, Any],
) -> None:
    words = [word for step in build["steps"] for word in step["args"]]
    tags = [word for word in words if word.startswith("--tag=")]
    assert [f"--tag={image}" for image in build["images"]] == tags
    assert {tag.rpartition(":")[2] for tag in tags} == {"$BUILD_ID", "latest"}
    arguments = {step["id"]: step["args"] for step in build["steps"]}
    for step, image in (("base", "_BASE_IMAGE_URI"), ("app", "_APP_URI")):
        given = arguments[f"build the {step} image"]
        assert f"--cache-from=${{{image}}}:latest" in given
        # BuildKit reads another image's cache only where that was told to say what it is made of.
        assert "--build-arg=BUILDKIT_INLINE_CACHE=1" in given
    assert "--build-arg=BASE_IMAGE_URI=${_BASE_IMAGE_URI}:$BUILD_ID" in given


def test_substitutions_are_strings_and_used(name: str, build: dict[str, Any], root: Path) -> None:
    """Cloud Build refuses a build for one that is missing, and for one too many."""
    text = re.sub(r"^#.*$", "", read(root, f"cloudbuild_{name}.yaml"), flags=re.M)
    used = set(re.findall(r"\$\{?(\w+)", text)) - BUILT_IN
    (line,) = re.findall(
        r'--substitutions="\^\|\^(.*)" \\$', read(root, TEMPLATES["submit_build"]), re.M
    )
    passed = set(re.findall(r"(?:^|\|)(_[A-Z_]+)=", line))
    assert used == set(build["substitutions"]) | passed
    assert set(build["substitutions"]) & passed == {"_MODELS", "_PRECISION", "_NO_CACHE"}
    assert {type(value) for value in build["substitutions"].values()} == {str}


def test_build_arguments_are_the_dockerfile_s(name: str, build: dict[str, Any], root: Path) -> None:
    dockerfile = (root / BY_NAME[name].dockerfile).read_text()
    declared = set(re.findall(r"^ARG (\w+)", dockerfile, re.M))
    (step,) = [step for step in build["steps"] if step["id"] == "build the app image"]
    given = {word.split("=")[1] for word in step["args"] if word.startswith("--build-arg=")}
    # Docker says that one was not consumed, and goes on: frontends compile no models.
    assert declared <= given
    unused = {"FOLDER", "MODELS", "MODELS_SETTING", "PRECISION", "BUILDKIT_INLINE_CACHE"}
    assert given - declared <= unused
