"""A deploy that fails changes neither traffic nor who may call, leaves no tag, says what serves.

What one that succeeds changes, and other reasons to fail, are in the transcripts.
"""

import http.server
import re
import shutil
import threading
from typing import ClassVar

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.services.deployment.project import POLICY, RUN_ACCOUNT, Project

START = ("gcloud", "deploy")
HELLO, PREDICT, PAGE = "*/hello", "*/predict", "*/_stcore/health"
# By side: what a smoke test asks.
ASKED = {"backend": (HELLO, PREDICT), "gateway": ("*/models", HELLO, PREDICT), "frontend": (PAGE,)}
SMOKE_TESTS = [(name, path) for name in NAMES for path in ASKED[BY_NAME[name].side]]
SERVES = r"What \S+ serves now is r-00003-ccc\."
FRONTENDS = f"serviceAccount:{RUN_ACCOUNT}"


def flags(project: Project) -> list[str]:
    """Return all words of the calls that change a service."""
    verbs = {"deploy", "update-traffic", "add-iam-policy-binding", "remove-iam-policy-binding"}
    return [word for call in project.calls() if verbs & set(call) for word in call]


def fails(project: Project, name: str, **environ: str) -> str:
    """Return why a deploy failed, after checks of what must hold for every one that does."""
    before = (project.root / "deliverables.yaml").read_text()
    result = project.run(f"deploy_{name}.sh", MODELS="swin_b", **environ)
    assert (result.returncode, result.stdout) == (1, "")
    words = flags(project)
    assert "--to-" not in " ".join(words)
    tags = [word.partition("=")[2] for word in words if word.startswith("--tag=")]
    removed = [word.partition("=")[2] for word in words if word.startswith("--remove-tags=")]
    assert tags == removed
    assert len(tags) == 1
    assert (project.root / "deliverables.yaml").read_text() == before
    return result.stderr


@pytest.mark.parametrize("status", [503, 302, 200])
@pytest.mark.parametrize(("name", "path"), SMOKE_TESTS)
def test_failed_or_wrong_answer_leaves_the_old_revision_serving(
    name: str, path: str, status: int, project: Project
) -> None:
    project.answer("curl", path, status=status, says='{"detail": "the queue is full"}')
    said = fails(project, name)
    assert '{"detail": "the queue is full"}' in said
    assert re.search(f"The new revision failed its smoke test. {SERVES}", said)


@pytest.mark.parametrize("name", NAMES)
def test_revision_that_does_not_start_is_not_tested(name: str, project: Project) -> None:
    project.answer(*START, status=1, complains="ERROR: it did not start\n")
    said = fails(project, name)
    assert re.search(f"ERROR: it did not start\n.*The deployment failed. {SERVES}", said)
    assert project.calls("curl") == []


class Waking(http.server.BaseHTTPRequestHandler):
    """Answers 503 at first, then as a backend whose model always fails or never does."""

    asked: ClassVar[list[str]] = []
    fails = False

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.path)
        is_bad = len(self.asked) == 1 or (self.fails and self.path == "/predict")
        self.send_response(503 if is_bad else 200)
        self.end_headers()
        self.wfile.write(b"asleep" if is_bad else b'"Hello!", "category":')

    do_POST = do_GET  # noqa: N815  the standard library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("fails", [True, False])
def test_curl_of_2020_tests_a_real_backend(
    fails: bool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What newer ones know: https://curl.se/docs/manpage.html."""
    monkeypatch.setattr(Waking, "asked", [])
    monkeypatch.setattr(Waking, "fails", fails)
    newer = 'case "$*" in *--fail-with-body*|*--json*|*--retry-all*|*--variable*) exit 2 ;; esac'
    (project.bin / "curl").write_text(f'#!/bin/sh\n{newer}\nexec {shutil.which("curl")} "$@"\n')
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Waking) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        project.answer("gcloud", "run", "list", "*status.traffic.tag=*", says=f"r-new\t{url}")
        result = project.run("deploy_backend_v1.sh")
        server.shutdown()
    assert Waking.asked[:3] == ["/hello", "/hello", "/predict"]
    assert result.returncode == int(fails), result.stderr
    assert ("asleep\n503" in result.stderr) == fails


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_deploy_that_is_interrupted_removes_its_tag(name: str, project: Project) -> None:
    interrupts = f'case "$*" in "run deploy"*) kill -{name} 0; exit 130 ;; esac'
    gcloud = (project.bin / "gcloud").read_text().replace("\nexec", f"\n{interrupts}\nexec")
    (project.bin / "gcloud").write_text(gcloud)
    result = project.run("deploy_backend_v1.sh")
    assert result.returncode != 0
    assert [word[:18] for word in flags(project) if "-tag" in word] == ["--remove-tags=try-"]
    assert re.search(SERVES, result.stderr)


# --- who may call --------------------------------------------------------------------------------


@pytest.mark.parametrize("callers", ["allUsers", FRONTENDS], ids=["public", "private"])
@pytest.mark.parametrize("told", ["", "0", "1"])
@pytest.mark.parametrize("failing", [START, ("curl", PREDICT)], ids=["start", "test"])
def test_deploy_that_fails_leaves_who_may_call(
    failing: tuple[str, str], told: str, callers: str, project: Project
) -> None:
    project.answer(*POLICY, says=callers)
    project.answer(*failing, status=1)
    fails(project, "backend_v1", PRIVATE=told)
    assert "allow-unauthenticated" not in str(flags(project))
    assert "iam-policy" not in str(flags(project))


def test_token_is_on_no_command_line_and_a_person_s_account_names_no_audience(
    project: Project,
) -> None:
    project.answer(*POLICY, says=FRONTENDS)
    project.answer("gcloud", "print-identity-token", "--audiences=*", status=1)
    assert project.run("deploy_backend_v1.sh").returncode == 0
    given = [each["stdin"].strip() for each in project.record() if each["argv"][0] == "curl"]
    assert given == ["Authorization: Bearer the-token"] * 2
    assert "the-token" not in str(project.calls() + project.calls("curl"))
    first, second = [call for call in project.calls() if "print-identity-token" in call]
    assert first == [*second, "--audiences=https://backend-v1.a.run.app"]


# --- rollback ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "component", ["backend_v2", "v3_backend_swin_b", "v3_gateway", "frontend_v1"]
)
def test_older_revision_that_fails_its_smoke_test_gets_no_traffic(
    component: str, project: Project
) -> None:
    last = PAGE if component == "frontend_v1" else PREDICT
    project.answer("curl", last, says="broken", status=500)
    result = project.run("rollback.sh", component)
    assert (result.returncode, result.stdout) == (1, "")
    assert "r-00002-bbb failed its smoke test, so r-00003-ccc goes on serving" in result.stderr
    assert "--to-revisions" not in str(flags(project))
    tagged, untagged = (word for word in flags(project) if "-tags=" in word)
    assert untagged == tagged.replace("update", "remove").removesuffix("=r-00002-bbb")


@pytest.mark.parametrize("word", ["", "backend_v9", "v3_backend", "v3_backend_", "backend-v1"])
def test_rollback_knows_its_components(word: str, project: Project) -> None:
    result = project.run("rollback.sh", word)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"takes a component, not '{word}'" in result.stderr
    assert project.record() == []
