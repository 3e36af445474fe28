"""What a rehearsal stands on."""

import os
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.waiting import wait_until
from tools.rehearsal import docker, host
from tools.rehearsal.base_image import carried, combine, parsed
from tools.rehearsal.docker import daemon, docker_environ
from tools.rehearsal.host import HostFailed, copy_source, listens, running
from tools.rehearsal.instance import free_port

FakeDocker = Callable[[str], dict[str, str]]


@pytest.fixture
def fake_docker(tmp_path: Path) -> FakeDocker:
    """Return a function that makes a docker command and an environment in which it is found."""

    def make(script: str) -> dict[str, str]:
        command = tmp_path / "bin" / "docker"
        command.parent.mkdir()
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        return {"PATH": f"{command.parent}:{os.environ['PATH']}"}

    return make


def git(folder: Path, *words: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, env=own, check=True, capture_output=True, text=True).stdout


def test_each_missing_program_is_named_with_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "SYSTEM_FOLDERS", ())
    lines = host.missing({**host.NEEDS, **host.BROWSER})
    assert len(lines) == len(host.NEEDS) + len(host.BROWSER)
    assert any(line.startswith("gcloud is missing: the Google Cloud CLI") for line in lines)


def test_a_program_is_found_under_any_of_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "google-chrome"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "SYSTEM_FOLDERS", ())
    assert host.find(*host.CHROMIUM) == str(program)
    assert host.missing(host.BROWSER) == []


def test_pip_settings_of_the_environment_win_over_those_of_files() -> None:
    text = """\
:env:.find-links='/from/environment'
:env:.default-timeout='180'
global.find-links='/from/file'
global.index-url='https://index.example/simple'
list.format='columns'
"""
    assert parsed(text) == {
        "find-links": "/from/environment",
        "timeout": "180",
        "index-url": "https://index.example/simple",
    }


def test_a_folder_of_packages_is_served_while_containers_may_ask_for_it(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "thing-1.0-py3-none-any.whl").write_text("a wheel")
    settings = {
        "find-links": f"{wheels} https://wheels.example/",
        "extra-index-url": "file:///somewhere/simple",
        "format": "columns",
    }
    with carried(settings, tmp_path / "logs") as conf:
        lines = conf.split("\n")
        (links,) = [line for line in lines if line.startswith("find-links = ")]
        ours, theirs = links.removeprefix("find-links = ").split()
        with urllib.request.urlopen(f"{ours}thing-1.0-py3-none-any.whl") as answer:
            assert answer.read() == b"a wheel"
        assert theirs == "https://wheels.example/"
        assert lines[0] == "[global]"
        assert "cert = /etc/ssl/certs/ca-certificates.crt" in lines
        assert "file:" not in conf
        assert "format" not in conf
    assert not listens(int(ours.rpartition(":")[2].strip("/")))


def test_pip_settings_of_folders_that_are_gone_are_left_out(tmp_path: Path) -> None:
    settings = {"find-links": str(tmp_path / "nothing")}
    with carried(settings, tmp_path) as conf:
        assert conf == "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n\n"


def test_files_take_the_place_of_those_in_an_archive(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    for name in ("pip.conf", "hosts"):
        (tree / "etc" / name).write_text(f"old {name}")
    (tree / "etc" / "link").symlink_to("hosts")
    with tarfile.open(tmp_path / "old.tar", "w") as old:
        old.add(tree, ".")
    combine(tmp_path / "old.tar", {"etc/pip.conf": b"new"}, tmp_path / "new.tar")
    with tarfile.open(tmp_path / "new.tar") as new:
        assert sorted(new.getnames()) == [
            ".",
            "./etc",
            "./etc/hosts",
            "./etc/link",
            "./etc/pip.conf",
        ]
        assert new.extractfile("./etc/pip.conf").read() == b"new"  # type: ignore[union-attr]
        assert new.extractfile("./etc/hosts").read() == b"old hosts"  # type: ignore[union-attr]
        assert new.getmember("./etc/link").linkname == "hosts"


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
    assert sorted(path.name for path in copy.iterdir()) == [
        *(".git", ".gitignore", "kept", "untracked")
    ]
    assert (copy / "kept").read_text() == "new"
    assert os.access(copy / "kept", os.X_OK)
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "log", "--format=%an <%ae>") == "rehearsal <rehearsal@localhost>\n"


def test_a_copy_of_no_repository_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(HostFailed, match="not a git repository"):
        copy_source(tmp_path, tmp_path / "copy")


def test_docker_reads_a_configuration_of_its_own(
    fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = fake_docker("exit 0") | {"DOCKER_CONTEXT": "mine", "DOCKER_TLS_VERIFY": "1"}
    monkeypatch.setenv("PATH", base["PATH"])
    environ = docker_environ(base, Path("/a/folder"), "unix:///a/socket")
    assert environ == {
        "PATH": base["PATH"],
        "DOCKER_CONFIG": "/a/folder",
        "DOCKER_HOST": "unix:///a/socket",
    }


def test_a_docker_without_buildx_builds_as_it_did_before(
    fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = fake_docker('[ "$1" != buildx ]')
    monkeypatch.setenv("PATH", base["PATH"])
    assert docker_environ(base, Path("/a/folder"))["DOCKER_BUILDKIT"] == "0"


def test_without_any_daemon_the_reason_is_said(
    fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = fake_docker("exit 1")
    monkeypatch.setenv("PATH", base["PATH"])
    monkeypatch.setattr(docker, "why_not_private", lambda _: "that takes root")
    message = "No Docker daemon answers, and no private one can start: that takes root."
    with pytest.raises(HostFailed, match=message), daemon(tmp_path / "docker", base):
        pass


def test_the_users_daemon_serves_where_no_private_one_may(
    fake_docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = fake_docker('[ "$1" != context ] || echo unix:///the/users/socket')
    monkeypatch.setenv("PATH", base["PATH"])
    monkeypatch.setattr(docker, "why_not_private", lambda _: "that takes root")
    with daemon(tmp_path / "docker", base) as theirs:
        assert theirs.environ["DOCKER_HOST"] == "unix:///the/users/socket"
        assert not theirs.is_private


def test_a_path_too_long_for_sockets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "find", lambda _: "/usr/sbin/dockerd")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert docker.why_not_private(Path("/short")) == ""
    assert "shorter --folder" in docker.why_not_private(Path("/" + "long" * 25))


def test_a_process_that_ends_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such port >&2; exit 3"]
    message = r"sh ended by itself:\n  no such port"
    with (
        pytest.raises(HostFailed, match=message),
        running(command, tmp_path / "log", lambda: False),
    ):
        pass


def test_a_process_that_is_never_ready_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "START_S", 0)
    with (
        pytest.raises(HostFailed, match="sleep is not ready after 0 s"),
        running(["sleep", "60"], tmp_path / "log", lambda: False),
    ):
        pass


def test_a_process_that_does_not_stop_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "STOP_S", 0.1)
    port = free_port()
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    script = (
        "import signal, subprocess, sys\n"
        f"signal.signal({signal.SIGTERM.value}, signal.SIG_IGN)\n"
        f"subprocess.run({server!r})\n"
    )
    with running([sys.executable, "-c", script], tmp_path / "log", lambda: listens(port)):
        pass
    wait_until(lambda: not listens(port))
