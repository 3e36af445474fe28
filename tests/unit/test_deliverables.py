"""deliverables.awk changes one value of a YAML file and nothing else."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

AWK = Path(__file__).resolve().parents[2] / "deployment" / "deliverables.awk"
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


def recorded(text: str, path: str, value: str = "new") -> str:
    """Return a file's text with a value written into it."""
    told = {**os.environ, "path": path, "value": value}
    command = ["awk", "-f", AWK]
    return subprocess.run(
        command, check=True, env=told, input=text, stdout=subprocess.PIPE, text=True
    ).stdout


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
def test_value_is_written_and_nothing_else_is_touched(path: str) -> None:
    text = recorded(TEXT, path)
    assert yaml.safe_load(text) == with_value(yaml.safe_load(TEXT), path.split("."), "new")
    assert recorded(text, path) == text
    before, after = TEXT.splitlines(), text.splitlines()
    if path in PATHS:
        assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    else:
        remaining = iter(after)
        assert all(line in remaining for line in before)
        assert 1 <= len(after) - len(before) <= 3


def test_comments_stay() -> None:
    text = recorded(TEXT, "services.v1.back_end.service_url")
    assert text.startswith("# What there is.\n")
    assert "    back_end: # the first\n" in text
    assert '      service_url: "new"  # not yet\n' in text


@pytest.mark.parametrize(
    "value",
    [
        *("https://a.b/c?d=e&f=g", "a & b", "100%", "#1", "a: b", "it's", "s p a c e", "-", ""),
        *(r"a\b", r"back\nslash", 'a "quote"'),
    ],
)
@pytest.mark.parametrize("path", [PATHS[0], MISSING[0]])
def test_value_is_kept_as_it_is(path: str, value: str) -> None:
    written = yaml.safe_load(recorded(TEXT, path, value))
    assert written == with_value(yaml.safe_load(TEXT), path.split("."), value)


@pytest.mark.parametrize(
    "path", ["services.v2.front_end.build_id", "v3.back_ends.swin_b.service_url"]
)
def test_repository_s_own_file_takes_every_value(path: str, root: Path) -> None:
    text = (root / "deliverables.yaml").read_text()
    expected = with_value(yaml.safe_load(text), path.split("."), "new")
    assert yaml.safe_load(recorded(text, path)) == expected
