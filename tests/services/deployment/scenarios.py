"""Runs of the scripts, each with its transcript: what they do, and where and how they stop.

After a change that is meant, ``.venv/bin/python -m tests.services.deployment.scenarios`` writes the
transcripts anew; their diff is what changes for a user.
"""

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

from tests.services.deployment.project import (
    NO_SERVICE_YET,
    OURS,
    POLICY,
    PROJECT,
    RUN_ACCOUNT,
    Project,
    copy_repository,
    without_time,
)

FOLDER = Path(__file__).with_name("transcripts")
MANY_WORDS = 11
# What calls answer: a status without words, or words, or what Project.answer takes.
Answers = dict[tuple[str, ...], int | str | dict[str, Any]]

FIRST: Answers = {NO_SERVICE_YET: 0}
IS_PRIVATE: Answers = {POLICY: f"serviceAccount:{RUN_ACCOUNT}"}
IS_FORBIDDEN: Answers = {POLICY: "user:owner@example.com"}
ABSENT = {"status": 1, "complains": "ERROR: (gcloud) NOT_FOUND: it is not there\n"}
NOTHING_THERE: Answers = {("gcloud", "describe"): ABSENT}


@dataclass(frozen=True)
class Scenario:
    """A script, what it is told, and which calls answer otherwise than usual."""

    script: str
    words: tuple[str, ...] = ()
    stdin: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)

    def run(self, project: Project, fail_at: int = -1) -> CompletedProcess[str]:
        """Return how it ends, from a new record on, where one call of gcloud may fail."""
        project.forget()
        project.fail_at(fail_at)
        for when, answer in self.answers.items():
            words = {"says": answer} if isinstance(answer, str) else {"status": answer}
            project.answer(*when, **(answer if isinstance(answer, dict) else words))
        return project.run(self.script, *self.words, stdin=self.stdin, **self.environ)  # type: ignore[arg-type]  # no path among them

    def transcript(self, project: Project) -> str:
        """Return what is typed, called, said and recorded in a run, and its status if it fails."""
        deliverables = project.root / "deliverables.yaml"
        before = set(entries(yaml.safe_load(deliverables.read_text())))
        ended = self.run(project)
        after = entries(yaml.safe_load(deliverables.read_text()))
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        parts = {
            f"$ {shlex.join([*settings, f'deployment/{self.script}', *self.words])}": "",
            "# gcloud and curl": "\n".join(as_text(*call) for call in project.everything()),
            "# standard error": ended.stderr.strip("\n"),
            "# standard output": ended.stdout.strip(),
            "# deliverables.yaml": "\n".join(entry for entry in after if entry not in before),
        }
        if ended.returncode:
            parts[f"# exit status {ended.returncode}"] = ""
        text = "\n\n".join(f"{title}\n{part}".strip() for title, part in parts.items())
        return without_time(text).replace(project.git("rev-parse", "HEAD").strip(), "COMMIT") + "\n"


def entries(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the values of nested mappings, each with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from entries(value, f"{above}{key}.")
        else:
            yield f"{above}{key}: {value}"


def as_text(call: list[str], header: str) -> str:
    """Return a command line; a long one of gcloud, which has many flags, with one flag a line."""
    if call[0] == "curl":
        return f"{shlex.join(call)} <<<{shlex.quote(header)}"
    if len(call) <= MANY_WORDS:
        return shlex.join(call)
    flags = next(number for number, word in enumerate(call) if word.startswith("-"))
    return " \\\n  ".join([shlex.join(call[:flags]), *map(shlex.quote, call[flags:])])


def deploy(component: str, answers: Answers | None = None, **environ: str) -> Scenario:
    """Return a deploy of a component."""
    return Scenario(f"deploy_{component}.sh", environ=environ, answers=answers or {})


def submit(component: str, answers: Answers | None = None, **environ: str) -> Scenario:
    """Return a build of a component."""
    return Scenario(f"submit_build_{component}.sh", environ=environ, answers=answers or {})


def rollback(*words: str, answers: Answers | None = None) -> Scenario:
    """Return a rollback."""
    return Scenario("rollback.sh", words, answers=answers or {})


def page(when: tuple[str, ...]) -> tuple[str, ...]:
    """Return which calls ask the same of frontend_v1."""
    return (*when, "frontend-v1" if when is POLICY else "--filter=metadata.name=frontend-v1")


START, CHANGE = ("gcloud", "deploy"), ("gcloud", "*-iam-policy-binding")
BUILD, LOG = ("gcloud", "builds", "describe"), ("gcloud", "builds", "log")
HELLO, GRANT = ("curl", "*/hello"), ("gcloud", "projects", "add-iam-policy-binding")
LIST = ("gcloud", "run", "list", "--filter=spec.template*")
TAGS = ("gcloud", "services", "list", "--format=value(spec.traffic[].tag)")
AT_TAG = ("gcloud", "services", "list", "*status.traffic.tag=*")
UNKNOWN_ACCOUNT = "ERROR: (gcloud) INVALID_ARGUMENT: Service account X does not exist.\n"
FORBIDDEN = "ERROR: (gcloud) PERMISSION_DENIED: Permission 'x.get' denied\n"
FAULT = "ERROR: (gcloud) UNAVAILABLE: The service is currently unavailable.\n"
UNREADY = "ERROR: (gcloud.run.services.update-traffic) Revision 'b' is not ready\n"
CONFLICT = "ERROR: (gcloud) ABORTED: Conflict for resource 'backend-v1'\n"
NEVER = "try-00000010000"  # the tag of a deploy that was cut off long ago
URL = ("gcloud", "services", "list", "--format=value(status.url)")
SERVING = ("gcloud", "services", "list", "*status.traffic.percent>0")
SWITCHES = ("gcloud", "services", "list", "--format=value(metadata.annotations*")
# A build's steps as they are asked for again and again; what is new is said once.
STATES = [
    "QUEUED\t\tpull\nQUEUED\t\tbuild the app\n",
    *["WORKING\tWORKING\tpull\nWORKING\t\tbuild the app\n"] * 2,
    "WORKING\tSUCCESS\tpull\nWORKING\tWORKING\tbuild the app\n",
    "SUCCESS\tSUCCESS\tpull\nSUCCESS\tSUCCESS\tbuild the app\n",
]
TWO = {"MODELS": "swin_b,vgg16"}
ELSEWHERE = {"REGION": "europe-west1", "REPO_NAME": "other", "REGISTRY": "registry.example"}
SCENARIOS = {
    **{f"submit_{name}": submit(name) for name in ("frontend_v1", "frontend_v2", "v3_frontend")},
    **{f"submit_{name}": submit(name) for name in ("backend_v1", "backend_v2", "v3_gateway")},
    "submit_v3_backend": submit("v3_backend", BUILD_REGION="us-central1", **TWO),
    "submit_another_model": submit("backend_v1", MODEL_NAME="swin_b", PRECISION="int8", **TWO),
    "submit_some_models": submit("backend_v2", PRECISION="int8", **TWO),
    "submit_a_new_model": submit("v3_backend", MODELS="efficientnet_lite2, vgg16,"),
    "submit_step_by_step": submit("backend_v1", {BUILD: {"says": STATES}}),
    "submit_elsewhere": submit("backend_v1", **ELSEWHERE),
    "deploy_backend_v1": deploy("backend_v1"),
    "deploy_backend_v1_first": deploy("backend_v1", FIRST),
    "deploy_backend_v1_older_image": deploy(
        "backend_v1", TAG="build-7", MIN_INSTANCES="1", MAX_INSTANCES="9", **TWO
    ),
    "deploy_backend_v1_first_private": deploy("backend_v1", {**FIRST, POLICY: ""}, PRIVATE="1"),
    "deploy_backend_v1_first_forbidden": deploy("backend_v1", {**FIRST, **IS_FORBIDDEN}),
    "deploy_backend_v2": deploy("backend_v2", FETCH_CONTACT="https://cats.example/about"),
    "deploy_backend_v2_becomes_private": deploy("backend_v2", PRIVATE="1"),
    "deploy_backend_v2_becomes_public": deploy("backend_v2", IS_PRIVATE, PRIVATE="0"),
    "deploy_backend_v2_stays_private": deploy("backend_v2", IS_PRIVATE),
    "deploy_backend_v2_private_from_a_repository": deploy(
        "backend_v2", IS_PRIVATE, TOKEN_ACCOUNT="me@example.com"
    ),
    "deploy_backend_v2_private_again": deploy("backend_v2", IS_PRIVATE, PRIVATE="1"),
    "deploy_backend_v2_public_again": deploy("backend_v2", PRIVATE="0"),
    "deploy_frontend_v1": deploy("frontend_v1"),
    "deploy_frontend_v1_first": deploy("frontend_v1", FIRST),
    "deploy_frontend_v1_first_forbidden": deploy(
        "frontend_v1", {**FIRST, (*POLICY, "frontend-v1"): ""}
    ),
    "deploy_frontend_v2": deploy("frontend_v2"),
    "deploy_frontend_v2_of_private_backend": deploy("frontend_v2", IS_PRIVATE, API_GATEWAY="no"),
    **{
        f"deploy_frontend_v1_{how}_by_hand": deploy(
            "frontend_v1", {page(SWITCHES): says, page(POLICY): ""}
        )
        for how, says in {"opened": "true\t\n", "behind_iap": "\ttrue\n", "closed": ""}.items()
    },
    "deploy_backend_v1_elsewhere": deploy("backend_v1", **ELSEWHERE),
    "deploy_backend_v1_in_another_region": deploy("backend_v1", REGION="europe-west1"),
    "deploy_backend_v1_that_wakes_slowly": deploy(
        "backend_v1", {HELLO: {"says": ["asleep", "asleep", '"Hello!"'], "status": [429, 503, 200]}}
    ),
    "deploy_backend_v1_after_one_that_was_cut_off": deploy(
        "backend_v1", {TAGS: f"{NEVER};try-fffffff0000;blue\n"}
    ),
    "deploy_backend_v1_while_another_is_released": deploy(
        "backend_v1",
        {
            ("gcloud", "deploy"): {"status": [1, 0], "complains": f"Deploying\n{CONFLICT}"},
            ("gcloud", "update-traffic"): {
                "status": [1, 1, 0],
                "complains": f"{CONFLICT}{UNREADY}",
            },
        },
    ),
    "deploy_backend_v1_that_becomes_public_slowly": deploy(
        "backend_v1",
        {
            **FIRST,
            HELLO: {"says": ["Forbidden", "Forbidden", '"Hello!"'], "status": [403, 403, 200]},
        },
    ),
    "deploy_by_the_template": Scenario("deploy_service_template.sh", ("v3_backend_swin_b",)),
    "deploy_v3_backend": deploy("v3_backend", **TWO),
    "deploy_v3_backend_becomes_private": deploy("v3_backend", PRIVATE="1", **TWO),
    "deploy_v3_gateway": deploy("v3_gateway", **TWO),
    "deploy_v3_gateway_becomes_private": deploy("v3_gateway", PRIVATE="1", **TWO),
    "deploy_v3_gateway_first": deploy("v3_gateway", FIRST, PRIVATE="0", **TWO),
    "deploy_v3_frontend": deploy("v3_frontend"),
    "deploy_v3_frontend_of_another_gateway": deploy("v3_frontend", API_GATEWAY="https://g.dev"),
    **{
        f"rollback_{name}": rollback(name)
        for name in ("backend_v1", "frontend_v2", "v3_backend_swin_b", "v3_frontend")
    },
    "rollback_v3_gateway_to_a_named_revision": rollback("v3_gateway", "r-1"),
    "rollback_of_a_private_backend": rollback("backend_v2", answers=IS_PRIVATE),
    "rollback_from_an_older_revision": rollback("backend_v1", answers={SERVING: "r-00002-bbb\n"}),
    "setup": Scenario("setup.sh", answers=NOTHING_THERE),
    "setup_again": Scenario("setup.sh"),
    "setup_whose_account_is_known_late": Scenario(
        "setup.sh", answers={GRANT: {"status": [1, 1, 0], "complains": UNKNOWN_ACCOUNT}}
    ),
    "setup_of_a_project_by_its_number": Scenario(
        "setup.sh", environ={"PROJECT_ID": "123456789012"}
    ),
    "check": Scenario("check.sh"),
    "check_elsewhere": Scenario("check.sh", environ=ELSEWHERE),
    "teardown": Scenario("teardown.sh", stdin=f"{PROJECT}\n"),
    "teardown_of_nothing": Scenario("teardown.sh", stdin=f"{PROJECT}\n", answers=NOTHING_THERE),
    "teardown_of_one_of_two_regions": Scenario(
        "teardown.sh",
        stdin=f"{PROJECT}\n",
        answers={LIST: f"europe-west1\tbackend-v2\n{OURS}"},
    ),
    "setup_with_scanning": Scenario("setup.sh", environ={"SCAN": "1"}),
    "setup_while_google_has_a_fault": Scenario(
        "setup.sh", answers={GRANT: {"status": [1, 0], "complains": FAULT}}
    ),
    "submit_anew_in_a_pool": submit(
        "backend_v1", NO_CACHE="true", WORKER_POOL="projects/p/locations/r/workerPools/w"
    ),
    "teardown_elsewhere": Scenario(
        "teardown.sh",
        environ={"YES": "1", **ELSEWHERE},
        answers={LIST: "europe-west1\tbackend-v2\n"},
    ),
}
REFUSED = "ERROR: FAILED_PRECONDITION: due to quota restrictions, cannot run builds in this region"
FAILED_BUILD = "FAILURE\tFAILURE\tbuild\n"
FAILURES = {
    "submit_build_that_fails": submit(
        "backend_v1", {BUILD: FAILED_BUILD, LOG: "".join(f"line {n}\n" for n in range(50))}
    ),
    "submit_build_that_fails_without_a_log": submit("backend_v1", {BUILD: FAILED_BUILD, LOG: 1}),
    "submit_in_a_region_that_is_refused": submit(
        "backend_v1",
        {("gcloud", "submit"): {"status": 1, "complains": f"Uploading\n{REFUSED}"}},
    ),
    "submit_v3_backend_whose_second_fails": submit(
        "v3_backend",
        {
            ("gcloud", "submit"): {"says": ["build-1\n", "build-2\n"]},
            (*BUILD, "build-2"): FAILED_BUILD,
        },
        MODELS="swin_b,vgg16,resnet152",
    ),
    "deploy_backend_v1_first_that_does_not_start": deploy(
        "backend_v1", {**FIRST, SERVING: 0, START: 1}
    ),
    "deploy_backend_v1_first_that_fails_its_test": deploy("backend_v1", {**FIRST, HELLO: 500}),
    "deploy_backend_v1_whose_tag_is_taken_away": deploy("backend_v1", {AT_TAG: 0}),
    "deploy_backend_v1_whose_tag_stays": deploy(
        "backend_v1", {START: 1, ("gcloud", "update-traffic"): 1}
    ),
    "deploy_backend_v1_public_forbidden": deploy(
        "backend_v1", {**IS_FORBIDDEN, CHANGE: 1}, PRIVATE="0"
    ),
    "deploy_backend_v1_public_forbidden_of_private": deploy(
        "backend_v1",
        {**IS_PRIVATE, CHANGE: {"status": 1, "complains": "not permitted\n"}},
        PRIVATE="0",
    ),
    "deploy_backend_v1_private_without_a_check": deploy(
        "backend_v1", {SWITCHES: "true\t\n"}, PRIVATE="1"
    ),
    "deploy_backend_v1_private_no": deploy("backend_v1", PRIVATE="no"),
    "deploy_v3_backend_whose_second_fails": deploy(
        "v3_backend", {("curl", "*v3-backend-vgg16*"): 500}, MODELS="swin_b,vgg16,resnet152"
    ),
    "deploy_frontend_v1_that_may_not_call": deploy("frontend_v1", IS_FORBIDDEN),
    "deploy_frontend_v1_without_its_backend": deploy("frontend_v1", {URL: 0}),
    "deploy_v3_frontend_that_may_not_call": deploy("v3_frontend", IS_FORBIDDEN),
    "deploy_v3_frontend_without_its_gateway": deploy("v3_frontend", {URL: 0}),
    "deploy_v3_gateway_of_private_backends": deploy("v3_gateway", IS_PRIVATE, **TWO),
    "deploy_v3_gateway_without_its_backends": deploy("v3_gateway", {URL: 0}, **TWO),
    "rollback_of_nothing": rollback("backend_v1", answers={SERVING: 0}),
    "rollback_of_the_oldest": rollback("backend_v1", answers={SERVING: "r-00001-aaa\n"}),
    "rollback_to_what_serves": rollback("backend_v1", "r-00003-ccc"),
    "rollback_to_two": rollback("backend_v1", "r-00001-aaa", "more"),
    "setup_whose_account_is_never_known": Scenario(
        "setup.sh", answers={GRANT: {"status": 1, "complains": UNKNOWN_ACCOUNT}}
    ),
    **{
        f"setup_{how}": Scenario("setup.sh", answers={when: answer})
        for how, (when, answer) in {
            "by_somebody_who_may_not": (GRANT, {"status": 1, "complains": FORBIDDEN}),
            "that_cannot_look": (
                ("gcloud", "secrets", "describe"),
                {"status": 1, "complains": FORBIDDEN},
            ),
            "with_an_old_gcloud": (("gcloud", "version"), "Google Cloud SDK 515.0.0\n"),
            "with_an_old_curl": (("curl", "--version"), "curl 7.29.0 (x86_64)\n"),
        }.items()
    },
    "setup_of_a_project_by_its_name": Scenario(
        "setup.sh",
        environ={"PROJECT_ID": "My Project"},
        answers={("gcloud", "projects", '--filter=name="My Project"'): "my-project-7\n"},
    ),
    **{
        f"setup_of_{how}": Scenario(
            "setup.sh", environ={"PROJECT_ID": given}, answers={("gcloud", "projects"): 1}
        )
        for how, given in {
            "an_unknown_name": "My-Project",
            "an_unknown_number": "12345",
            "a_project_of_a_domain": "example.com:proj",
        }.items()
    },
    "check_of_an_empty_project": Scenario("check.sh", answers={("gcloud",): 1}),
    "check_by_nobody_of_what_nobody_pays": Scenario(
        "check.sh", answers={("gcloud", "auth", "list"): "", ("gcloud", "billing"): "False\n"}
    ),
}


def main() -> None:
    """Write the transcripts of all scenarios."""
    with tempfile.TemporaryDirectory() as name:
        committed = Path(name) / "committed"
        copy_repository(FOLDER.parents[3], committed)
        for scenario, described in {**SCENARIOS, **FAILURES}.items():
            folder = Path(name) / scenario
            folder.mkdir()
            text = described.transcript(Project(committed, folder))
            (FOLDER / f"{scenario}.txt").write_text(text)


if __name__ == "__main__":
    main()
