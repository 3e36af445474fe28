"""deliverables.awk changes one value of a YAML file and nothing else."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOYMENT = Path(__file__).resolve().parents[2] / "deployment"
TEXT = """\
# What there is.
services:
  v1:
    back_end: # the first
      build_id: ""
      service_url: "" # not yet
    front_end:
      build_id: old
v3:
  back_ends:
    vgg16:
      build_id: ""
    vgg16_bn:
      build_id: "kept"
  gateway:
    build_id: ""
"""


def recorded(text: str, path: str, value: str, folder: Path) -> str:
    """Return a file's text with a value written into it, as the scripts do it."""
    (folder / "deployment").mkdir(exist_ok=True)
    for name in ("lib.sh", "components.sh", "deliverables.awk"):
        shutil.copy(DEPLOYMENT / name, folder / "deployment" / name)
    (folder / "deliverables.yaml").write_text(text)
    command = 'set -euo pipefail; source "$0"; record "$1" "$2"'
    lib = str(folder / "deployment" / "lib.sh")
    subprocess.run(["bash", "-c", command, lib, path, value], check=True)
    return (folder / "deliverables.yaml").read_text()


def with_value(tree: dict[str, Any] | None, keys: list[str], value: str) -> dict[str, Any]:
    """Return nested mappings with one value changed."""
    first, *rest = keys
    tree = dict(tree or {})
    tree[first] = with_value(tree.get(first), rest, value) if rest else value
    return tree


PATHS = [
    "services.v1.back_end.build_id",
    "services.v1.back_end.service_url",
    "services.v1.front_end.build_id",
    "v3.back_ends.vgg16.build_id",
    "v3.back_ends.vgg16_bn.build_id",
    "v3.gateway.build_id",
]
MISSING = [
    "services.v1.front_end.service_url",
    "services.v1.third_end.build_id",
    "services.v2.back_end.build_id",
    "v3.back_ends.vgg.build_id",
    "v3.back_ends.vgg16.service_url",
    "v3.back_ends.vgg16_bn.service_url",
    "v3.gateway.service_url",
    "servers.v1",
    "more",
]


@pytest.mark.parametrize("path", PATHS + MISSING)
def test_value_is_written_and_no_other_is_touched(path: str, tmp_path: Path) -> None:
    written = yaml.safe_load(recorded(TEXT, path, "new", tmp_path))
    assert written == with_value(yaml.safe_load(TEXT), path.split("."), "new")


@pytest.mark.parametrize("path", PATHS)
def test_one_line_changes(path: str, tmp_path: Path) -> None:
    before, after = TEXT.splitlines(), recorded(TEXT, path, "new", tmp_path).splitlines()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize("path", MISSING)
def test_missing_key_only_adds_lines(path: str, tmp_path: Path) -> None:
    after = recorded(TEXT, path, "new", tmp_path).splitlines()
    remaining = iter(after)
    assert all(line in remaining for line in TEXT.splitlines())
    assert 1 <= len(after) - len(TEXT.splitlines()) <= 3


def test_comments_stay(tmp_path: Path) -> None:
    text = recorded(TEXT, "services.v1.back_end.service_url", "new", tmp_path)
    assert text.startswith("# What there is.\n")
    assert "    back_end: # the first\n" in text
    (line,) = [line for line in text.splitlines() if "service_url" in line]
    assert line.split() == ["service_url:", '"new"', "#", "not", "yet"]


def test_writing_again_changes_nothing_more(tmp_path: Path) -> None:
    for path in PATHS + MISSING:
        once = recorded(TEXT, path, "new", tmp_path)
        assert recorded(once, path, "new", tmp_path) == once


@pytest.mark.parametrize(
    "value",
    [
        *("https://a.b/c?d=e&f=g", "a & b", "100%", "#1", "a: b", "it's", "s p a c e", "-", ""),
        *(r"a\b", r"back\nslash", 'a "quote"'),
    ],
)
@pytest.mark.parametrize("path", [PATHS[0], MISSING[0]])
def test_value_is_kept_as_it_is(path: str, value: str, tmp_path: Path) -> None:
    written = yaml.safe_load(recorded(TEXT, path, value, tmp_path))
    assert written == with_value(yaml.safe_load(TEXT), path.split("."), value)


def test_repository_s_own_file_takes_every_value(root: Path, tmp_path: Path) -> None:
    text = (root / "deliverables.yaml").read_text()
    tree = yaml.safe_load(text)
    for path in ("services.v2.front_end.build_id", "v3.back_ends.swin_b.service_url"):
        assert yaml.safe_load(recorded(text, path, "new", tmp_path)) == (
            with_value(tree, path.split("."), "new")
        )
