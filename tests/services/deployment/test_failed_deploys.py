"""A deploy that fails changes neither traffic nor who may call, leaves no tag, says what serves.

What one that succeeds changes is in the transcripts.
"""

import http.server
import re
import shutil
import threading
from typing import ClassVar

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.services.deployment.project import NO_SERVICE_YET, POLICY, RUN_ACCOUNT, Project

START = ("gcloud", "deploy")
HELLO, PREDICT, PAGE = "*/hello", "*/predict", "*/_stcore/health"
# By side: what a smoke test asks.
ASKED = {"backend": (HELLO, PREDICT), "gateway": ("*/models", HELLO, PREDICT), "frontend": (PAGE,)}
SMOKE_TESTS = [(name, path) for name in NAMES for path in ASKED[BY_NAME[name].side]]
BACKENDS = {
    "frontend_v1": "backend_v1",
    "frontend_v2": "backend_v2",
    "v3_frontend": "v3_gateway",
    "v3_gateway": "v3_backend",
}
SWITCHES = ("gcloud", "services", "list", "--format=value(metadata.annotations*")
CHANGE = ("gcloud", "*-iam-policy-binding")
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
    assert "--to-latest" not in words
    assert words.count("--tag=candidate") == words.count("--remove-tags=candidate")
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
def test_revision_that_does_not_start_leaves_the_old_one_serving(
    name: str, project: Project
) -> None:
    project.answer(*START, status=1, complains="ERROR: it did not start\n")
    said = fails(project, name)
    assert "ERROR: it did not start" in said
    assert re.search(f"The new revision did not start. {SERVES}", said)
    assert project.calls("curl") == []


def test_tag_that_cannot_be_removed_is_named(project: Project) -> None:
    project.answer(*START, status=1)
    project.answer("gcloud", "update-traffic", status=1)
    assert "may still be there: https://tag---backend-v1.a.run.app" in fails(project, "backend_v1")


@pytest.mark.parametrize("what", [START, ("curl", "*")], ids=["start", "test"])
def test_first_revision_that_fails_has_no_older_one(
    what: tuple[str, str], project: Project
) -> None:
    project.answer(*NO_SERVICE_YET)
    project.answer("gcloud", "*status.traffic.percent>0")
    project.answer(*what, status=1)
    said = fails(project, "backend_v1")
    assert "What backend-v1 serves now is nothing." in said
    assert "It is the first revision of backend-v1" in said


def test_service_that_wakes_up_slowly_is_asked_again(project: Project) -> None:
    project.answer("curl", HELLO, says=["asleep", "asleep", '"Hello!"'], status=[429, 503, 200])
    assert project.run("deploy_backend_v1.sh").returncode == 0
    assert len([call for call in project.calls("curl") if call[-1].endswith("/hello")]) == 3
    assert "--to-latest" in flags(project)


def test_service_that_never_wakes_up_is_not_asked_for_ever(project: Project) -> None:
    project.answer("curl", HELLO, says="asleep", status=503)
    assert "asleep" in fails(project, "backend_v1")
    assert 1 < len(project.calls("curl")) < 20


def test_failing_v3_backend_leaves_out_the_rest(project: Project) -> None:
    project.answer("curl", "*v3-backend-vgg16*", status=500)
    result = project.run("deploy_v3_backend.sh", MODELS="swin_b,vgg16,resnet152")
    assert (result.returncode, result.stdout) == (1, "https://v3-backend-swin-b.a.run.app\n")
    assert project.deliverable("services.v3.back_ends.swin_b.service_url")
    assert not project.deliverable("services.v3.back_ends.vgg16.service_url")
    deployed = [call[3] for call in project.calls() if "deploy" in call]
    assert deployed == ["v3-backend-swin-b", "v3-backend-vgg16"]


@pytest.mark.parametrize("name", BACKENDS)
def test_service_without_its_backend_says_which_script_comes_first(
    name: str, project: Project
) -> None:
    service = BACKENDS[name].replace("_", "-") + ("-swin-b" if name == "v3_gateway" else "")
    project.answer("gcloud", f"--filter=metadata.name={service}", says="")
    said = fails(project, name)
    script = f"deployment/deploy_{BACKENDS[name]}.sh"
    assert f"{service} is not deployed yet: run {script} first" in said
    assert len(project.calls()) == 1


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
        project.answer("gcloud", "run", "list", "*status.traffic.tag=*", says=url)
        result = project.run("deploy_backend_v1.sh")
        server.shutdown()
    assert Waking.asked[:3] == ["/hello", "/hello", "/predict"]
    assert result.returncode == int(fails), result.stderr
    assert ("asleep\n503" in result.stderr) == fails


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


@pytest.mark.parametrize("callers", ["user:me@example.com", FRONTENDS])
def test_policy_that_forbids_private_0_is_told_with_what_to_do(
    callers: str, project: Project
) -> None:
    project.answer(*POLICY, says=callers)
    project.answer(*CHANGE, status=1, complains="FAILED_PRECONDITION: not permitted\n")
    said = fails(project, "backend_v1", PRIVATE="0")
    assert "FAILED_PRECONDITION" in said
    assert "a policy of the organization forbids it" in said
    assert "PRIVATE=1 deployment/deploy_backend_v1.sh lets the frontends call it." in said
    assert re.search(SERVES, said)


def test_private_1_that_does_not_take_stops_before_the_traffic(project: Project) -> None:
    project.answer(*SWITCHES, says="true\t\n")  # callers are not checked, whatever the policy says
    said = fails(project, "backend_v1", PRIVATE="1")
    assert "Anyone may call backend-v1." in said
    assert "--invoker-iam-check" in said


@pytest.mark.parametrize(
    ("switches", "said", "asked"),
    [
        ("true\t\n", "Anyone may call frontend-v1.", 1),
        ("\ttrue\n", "Only people whom Identity-Aware Proxy lets in may open frontend-v1.", 0),
        ("\t\n", "Not everyone may open frontend-v1.", 1),
    ],
)
def test_page_whose_access_was_changed_by_hand_is_deployed_as_it_is(
    switches: str, said: str, asked: int, project: Project
) -> None:
    project.answer(*SWITCHES, "--filter=metadata.name=frontend-v1", says=switches)
    project.answer(*POLICY, "frontend-v1", says="user:me@example.com")
    result = project.run("deploy_frontend_v1.sh", PRIVATE="0")
    assert result.returncode == 0
    assert said in result.stderr
    assert "did not take" not in result.stderr
    assert len(project.calls("curl")) == asked


@pytest.mark.parametrize("name", ["frontend_v1", "v3_frontend"])
def test_page_is_not_deployed_where_it_may_not_call_its_backend(
    name: str, project: Project
) -> None:
    project.answer(*POLICY, says="user:me@example.com")
    said = fails(project, name)
    assert f"call it: run PRIVATE=1 deployment/deploy_{BACKENDS[name]}.sh first" in said
    assert flags(project) == []


@pytest.mark.parametrize("callers", ["user:me@example.com", FRONTENDS])
def test_gateway_refuses_private_backends(callers: str, project: Project) -> None:
    project.answer(*POLICY, "v3-backend-swin-b", says=callers)
    assert "v3-backend-swin-b asks for ID tokens" in fails(project, "v3_gateway")
    assert flags(project) == []


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


def test_other_value_of_private_is_refused_before_anything_is_deployed(project: Project) -> None:
    said = fails(project, "backend_v1", PRIVATE="no")
    assert "PRIVATE is 1 (only the frontends), 0 (anyone) or not set" in said
    assert project.calls() == []
