"""A deploy that fails changes neither traffic nor who may call, leaves no tag, says what serves.

What one that succeeds changes, and other reasons to fail, are in the transcripts.
"""

import re
import shlex
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.conventions.deployment import BY_NAME, NAMES
from tests.servers import Files, served
from tests.services.deployment.project import POLICY, RUN_ACCOUNT, Project
from tests.services.deployment.scenarios import SCENARIOS, expected

START = ("gcloud", "deploy")
HELLO, PREDICT, PAGE = "*/hello", "*/predict", "*/_stcore/health"
# By side: what a smoke test asks.
ASKED = {"backend": (HELLO, PREDICT), "gateway": ("*/models", HELLO, PREDICT), "frontend": (PAGE,)}
SMOKE_TESTS = [(name, path) for name in NAMES for path in ASKED[BY_NAME[name].side]]
SERVES = r"What \S+ serves now is r-00003-ccc\."
FRONTENDS = f"serviceAccount:{RUN_ACCOUNT}"
# What curl had in 2017: https://curl.se/docs/manpage.html
OLD_OPTIONS = {"--silent", "--show-error", "--max-time", "--write-out", "--header", "--form"}


def changes(project: Project) -> str:
    """Return the calls that change a service, one a line."""
    verbs = {"deploy", "update-traffic", "add-iam-policy-binding", "remove-iam-policy-binding"}
    return "\n".join(shlex.join(call) for call in project.calls() if verbs & set(call))


def fails(project: Project, name: str, **environ: str) -> str:
    """Return why a deploy failed, after checks of what must hold for every one that does."""
    before = (project.root / "deliverables.yaml").read_text()
    result = project.run(f"deploy_{name}.sh", MODELS="swin_b", **environ)
    assert (result.returncode, result.stdout) == (1, "")
    assert not re.search("--to-|allow-unauthenticated|iam-policy", changes(project))
    tags = re.findall(r"--tag=(\S+)", changes(project))
    assert tags == re.findall(r"--remove-tags=(\S+)", changes(project))
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


@pytest.mark.parametrize("callers", ["allUsers", FRONTENDS], ids=["public", "private"])
@pytest.mark.parametrize("told", ["", "0", "1"])
@pytest.mark.parametrize("failing", [START, ("curl", PREDICT)], ids=["start", "test"])
def test_deploy_that_fails_leaves_who_may_call(
    failing: tuple[str, str], told: str, callers: str, project: Project
) -> None:
    project.answer(*POLICY, says=callers)
    project.answer(*failing, status=1)
    fails(project, "backend_v1", PRIVATE=told)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_deploy_that_is_interrupted_removes_its_tag(name: str, project: Project) -> None:
    interrupts = f'case "$*" in "run deploy"*) kill -{name} 0; exit 130 ;; esac'
    gcloud = (project.bin / "gcloud").read_text().replace("\nexec", f"\n{interrupts}\nexec")
    (project.bin / "gcloud").write_text(gcloud)
    result = project.run("deploy_backend_v1.sh")
    assert result.returncode != 0
    assert re.findall(r"--\S*tag\S*=try-", changes(project)) == ["--remove-tags=try-"]
    assert re.search(SERVES, result.stderr)


@pytest.mark.parametrize(("letters", "status"), [(20, 0), (21, 1)])
def test_name_that_leaves_no_room_for_a_tag_is_refused_before_the_first_deploy(
    letters: int, status: int, project: Project
) -> None:
    done = project.run("deploy_v3_backend.sh", MODELS="p" * letters)
    assert done.returncode == status, done.stderr
    assert ("may have 20 characters" in done.stderr) == bool(status)
    assert bool(changes(project)) == (not status)


def test_token_is_on_no_command_line_and_a_person_s_account_names_no_audience(
    project: Project,
) -> None:
    project.answer(*POLICY, says=FRONTENDS)
    project.answer("gcloud", "print-identity-token", "--audiences=*", status=1)
    assert project.run("deploy_backend_v1.sh").returncode == 0
    given = [call.stdin for call in project.record() if call.argv[0] == "curl"]
    assert given == ["Authorization: Bearer the-token"] * 2
    assert "the-token" not in str(project.calls() + project.calls("curl"))
    first, second = [call for call in project.calls() if "print-identity-token" in call]
    assert first == [*second, "--audiences=https://backend-v1.a.run.app"]


def test_curl_has_only_options_that_old_ones_know() -> None:
    lines = re.findall(r"^curl .*", "\n".join(map(expected, SCENARIOS)), re.M)
    used = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    assert used - {"--version"} == OLD_OPTIONS


def test_real_curl_says_what_a_server_answers(root: Path) -> None:
    samples = root / "imgserve" / "samples"
    fetch = 'PAUSE_S=0; source "$0"; fetch "$1/CREDITS.md" && ! fetch "$1/absent"'
    with served(partial(Files, directory=samples)) as url:
        command = ["bash", "-uc", fetch, root / "deployment" / "lib.sh", url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == (samples / "CREDITS.md").read_text()
    assert "\n404\nThere is no such address." in done.stderr


# --- rollback ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "component", ["backend_v2", "v3_backend_swin_b", "v3_gateway", "frontend_v1"]
)
def test_older_revision_that_fails_its_smoke_test_gets_no_traffic(
    component: str, project: Project
) -> None:
    project.answer("curl", PAGE if component == "frontend_v1" else PREDICT, status=500)
    result = project.run("rollback.sh", component)
    assert (result.returncode, result.stdout) == (1, "")
    assert "r-00002-bbb failed its smoke test, so r-00003-ccc goes on serving" in result.stderr
    tagged, untagged = changes(project).splitlines()
    tag, there = re.findall(r"--update-tags=(\S+)=(\S+)", tagged)[0]
    assert there == "r-00002-bbb"
    assert f"--remove-tags={tag} " in untagged


@pytest.mark.parametrize("word", ["", "backend_v9", "v3_backend", "v3_backend_", "backend-v1"])
def test_rollback_knows_its_components(word: str, project: Project) -> None:
    result = project.run("rollback.sh", word)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"takes a component, not '{word}'" in result.stderr
    assert project.record() == []
