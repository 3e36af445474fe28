"""What a rehearsal stands on."""

import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tools.process import Failed, listens
from tools.rehearsal import host
from tools.rehearsal.docker import pip_configuration
from tools.rehearsal.host import copy_source, serving


def git(folder: Path, *words: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(folder), *words], env=own, check=True)


def test_pip_finds_in_a_container_what_it_finds_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thing-1.0-py3-none-any.whl").write_text("a wheel")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} {tmp_path}/nothing")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    with pip_configuration(tmp_path / "log") as conf:
        first, *options = conf.splitlines()
        values = dict(option.split(" = ") for option in options)
        with urllib.request.urlopen(f"{values['find-links']}thing-1.0-py3-none-any.whl") as answer:
            assert answer.read() == b"a wheel"
    assert first == "[global]"
    assert values["index-url"] == "https://index.example/simple"
    assert values["cert"] == "/etc/ssl/certs/ca-certificates.crt"
    assert not listens(int(values["find-links"].rpartition(":")[2].strip("/")))


def test_the_copy_is_the_working_tree_and_not_the_last_commit(tmp_path: Path) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    git(root, "init", "--quiet")
    for name, text in {"kept": "old", "deleted": "", ".gitignore": "ignored\n"}.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    (root / "kept").write_text("new")
    (root / "kept").chmod(0o755)
    (root / "deleted").unlink()
    for name in ("untracked", "ignored"):
        (root / name).touch()
    copy_source(root, copy)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "kept", "untracked"]
    assert (copy / "kept").read_text() == "new"
    assert os.access(copy / "kept", os.X_OK)


def test_a_copy_of_no_repository_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="not a git repository"):
        copy_source(tmp_path, tmp_path / "copy")


@pytest.mark.parametrize(
    ("script", "start_s", "message"),
    [
        (
            "echo no such port >&2; exit 3",
            60,
            r"^sh ended by itself with exit status 3; the end of .*sh\.log:\n  no such port$",
        ),
        ("sleep 60", 0, "^sh is not ready after 0 s"),
    ],
    ids=["ends by itself", "is never ready"],
)
def test_a_process_that_does_not_come_up_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, start_s: float, message: str
) -> None:
    monkeypatch.setattr(host, "START_S", start_s)
    command = ["sh", "-c", script]
    with (
        pytest.raises(Failed, match=message),
        serving(command, tmp_path / "sh.log", lambda: False),
    ):
        pass
