"""Runs of the scripts, each with its transcript: what they do, and where and how they stop.

A transcript begins with the command that it is of; ANSWERS has what calls answer otherwise than
usual. After a change that is meant, ``.venv/bin/python -m tests.services.deployment.scenarios``
writes the transcripts anew; their diff is what changes for a user. A new one is a new file with its
first line.
"""

import shlex
import tempfile
from collections.abc import Iterator
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
    git,
    without_time,
)

FOLDER = Path(__file__).with_name("transcripts")
SCENARIOS = sorted(path.stem for path in FOLDER.iterdir())
MANY_WORDS = 11
# What calls answer: a status without words, or words, or all that Project.answer takes.
Answers = dict[tuple[str, ...], int | str | dict[str, Any]]

FIRST: Answers = {NO_SERVICE_YET: 0}
IS_PRIVATE: Answers = {POLICY: f"serviceAccount:{RUN_ACCOUNT}"}
IS_FORBIDDEN: Answers = {POLICY: "user:owner@example.com"}
ABSENT = {"status": 1, "complains": "ERROR: (gcloud) NOT_FOUND: it is not there\n"}
NOTHING_THERE: Answers = {("gcloud", "describe"): ABSENT}

START, CHANGE = ("gcloud", "deploy"), ("gcloud", "*-iam-policy-binding")
SUBMIT = ("gcloud", "submit")
BUILD, LOG = ("gcloud", "builds", "describe"), ("gcloud", "builds", "log")
HELLO, GRANT = ("curl", "*/hello"), ("gcloud", "projects", "add-iam-policy-binding")
MOVE = ("gcloud", "update-traffic")
PROJECT_OF_GCLOUD = ("gcloud", "config", "get-value")
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
TOKEN_OF_AN_ACCOUNT = ("gcloud", "print-identity-token", "--audiences=*")
SWITCHES = ("gcloud", "services", "list", "--format=value(metadata.annotations*")
PAGE_SWITCHES = (*SWITCHES, "--filter=metadata.name=frontend-v1")
PAGE_POLICY = (*POLICY, "frontend-v1")
# A build's steps as they are asked for again and again; what is new is said once.
STATES = [
    "QUEUED\t\tpull\nQUEUED\t\tbuild the app\n",
    *["WORKING\tWORKING\tpull\nWORKING\t\tbuild the app\n"] * 2,
    "WORKING\tSUCCESS\tpull\nWORKING\tWORKING\tbuild the app\n",
    "SUCCESS\tSUCCESS\tpull\nSUCCESS\tSUCCESS\tbuild the app\n",
]
REFUSED = "ERROR: FAILED_PRECONDITION: due to quota restrictions, cannot run builds in this region"
FAILED_BUILD = "FAILURE\tFAILURE\tbuild\n"


def failing(complains: str, *status: int) -> dict[str, Any]:
    """Return the answer of calls that fail, or do so at first."""
    return {"status": [*status] or 1, "complains": complains}


# By scenario; where a project has everything, and all goes well, it has no entry.
ANSWERS: dict[str, Answers] = {
    "check_by_nobody_of_what_nobody_pays": {
        ("gcloud", "auth", "list"): "",
        ("gcloud", "billing"): "False\n",
    },
    "check_of_an_empty_project": {("gcloud",): 1},
    "deploy_backend_v1_after_one_that_was_cut_off": {TAGS: f"{NEVER};try-fffffff0000;blue\n"},
    "deploy_backend_v1_first": FIRST,
    "deploy_backend_v1_first_forbidden": {**FIRST, **IS_FORBIDDEN},
    "deploy_backend_v1_first_private": {**FIRST, POLICY: ""},
    "deploy_backend_v1_first_that_does_not_start": {**FIRST, SERVING: 0, START: 1},
    "deploy_backend_v1_first_that_fails_its_test": {**FIRST, HELLO: 500},
    "deploy_backend_v1_private_without_a_check": {SWITCHES: "true\t\n"},
    "deploy_backend_v1_public_forbidden": {**IS_FORBIDDEN, CHANGE: 1},
    "deploy_backend_v1_public_forbidden_of_private": {
        **IS_PRIVATE,
        CHANGE: failing("not permitted\n"),
    },
    "deploy_backend_v1_that_becomes_public_slowly": {
        **FIRST,
        HELLO: {"says": ["Forbidden", "Forbidden", '"Hello!"'], "status": [403, 403, 200]},
    },
    "deploy_backend_v1_that_wakes_slowly": {
        HELLO: {"says": ["asleep", "asleep", '"Hello!"'], "status": [429, 503, 200]}
    },
    "deploy_backend_v1_while_another_is_released": {
        START: failing(f"Deploying\n{CONFLICT}", 1, 0),
        MOVE: failing(f"{CONFLICT}{UNREADY}", 1, 1, 0),
    },
    "deploy_backend_v1_without_a_project": {PROJECT_OF_GCLOUD: ""},
    "deploy_backend_v1_whose_tag_is_taken_away": {AT_TAG: 0},
    "deploy_backend_v1_whose_tag_stays": {START: 1, MOVE: 1},
    "deploy_backend_v2_becomes_public": IS_PRIVATE,
    "deploy_backend_v2_by_a_person": {**IS_PRIVATE, TOKEN_OF_AN_ACCOUNT: 1},
    "deploy_backend_v2_private_again": IS_PRIVATE,
    "deploy_backend_v2_private_from_a_repository": IS_PRIVATE,
    "deploy_backend_v2_stays_private": IS_PRIVATE,
    "deploy_backend_v2_whose_test_is_refused": {
        ("curl", "*/predict"): {"says": '{"detail": "the queue is full"}', "status": 503}
    },
    "deploy_frontend_v1_behind_iap_by_hand": {PAGE_SWITCHES: "\ttrue\n", PAGE_POLICY: ""},
    "deploy_frontend_v1_closed_by_hand": {PAGE_SWITCHES: "", PAGE_POLICY: ""},
    "deploy_frontend_v1_first": FIRST,
    "deploy_frontend_v1_first_forbidden": {**FIRST, PAGE_POLICY: ""},
    "deploy_frontend_v1_opened_by_hand": {PAGE_SWITCHES: "true\t\n", PAGE_POLICY: ""},
    "deploy_frontend_v1_that_may_not_call": IS_FORBIDDEN,
    "deploy_frontend_v1_whose_page_is_another": {("curl", "*/_stcore/health"): "Welcome"},
    "deploy_frontend_v1_without_its_backend": {URL: 0},
    "deploy_frontend_v2_of_private_backend": IS_PRIVATE,
    "deploy_v3_backend_whose_second_fails": {("curl", "*v3-backend-vgg16*"): 500},
    "deploy_v3_gateway_first": FIRST,
    "deploy_v3_gateway_of_private_backends": IS_PRIVATE,
    "deploy_v3_gateway_without_its_backends": {URL: 0},
    "rollback_from_an_older_revision": {SERVING: "r-00002-bbb\n"},
    "rollback_of_a_private_backend": IS_PRIVATE,
    "rollback_of_nothing": {SERVING: 0},
    "rollback_of_the_oldest": {SERVING: "r-00001-aaa\n"},
    "rollback_to_one_that_fails_its_test": {("curl", "*/predict"): 500},
    "setup": NOTHING_THERE,
    "setup_by_somebody_who_may_not": {GRANT: failing(FORBIDDEN)},
    "setup_of_a_project_by_its_name": {
        ("gcloud", "projects", '--filter=name="My Project"'): "my-project-7\n"
    },
    "setup_of_a_project_of_a_domain": {("gcloud", "projects"): 1},
    "setup_of_an_unknown_name": {("gcloud", "projects"): 1},
    "setup_of_an_unknown_number": {("gcloud", "projects"): 1},
    "setup_that_cannot_look": {("gcloud", "secrets", "describe"): failing(FORBIDDEN)},
    "setup_while_google_has_a_fault": {GRANT: failing(FAULT, 1, 0)},
    "setup_whose_account_is_known_late": {GRANT: failing(UNKNOWN_ACCOUNT, 1, 1, 0)},
    "setup_whose_account_is_never_known": {GRANT: failing(UNKNOWN_ACCOUNT)},
    "setup_with_an_old_curl": {("curl", "--version"): "curl 7.29.0 (x86_64)\n"},
    "setup_with_an_old_gcloud": {("gcloud", "version"): "Google Cloud SDK 515.0.0\n"},
    "submit_build_that_fails": {
        BUILD: FAILED_BUILD,
        LOG: "".join(f"line {n}\n" for n in range(50)),
    },
    "submit_build_that_fails_without_a_log": {BUILD: FAILED_BUILD, LOG: 1},
    "submit_in_a_region_that_is_refused": {SUBMIT: failing(f"Uploading\n{REFUSED}")},
    "submit_step_by_step": {BUILD: {"says": STATES}},
    "submit_v3_backend_whose_second_fails": {
        SUBMIT: {"says": ["build-1\n", "build-2\n"]},
        (*BUILD, "build-2"): FAILED_BUILD,
    },
    "teardown_after_one_that_broke_off": {LIST: ""},  # the services are gone, the rest is there
    "teardown_elsewhere": {LIST: "europe-west1\tbackend-v2\n"},
    "teardown_of_nothing": NOTHING_THERE,
    "teardown_of_one_of_two_regions": {LIST: f"europe-west1\tbackend-v2\n{OURS}"},
}


def expected(name: str) -> str:
    """Return a scenario's transcript as it is kept."""
    return (FOLDER / f"{name}.txt").read_text()


def run(
    name: str, project: Project, more: Answers | None = None, **environ: str
) -> CompletedProcess[str]:
    """Return how a scenario ends, where calls may answer otherwise still."""
    for when, answer in {**ANSWERS.get(name, {}), **(more or {})}.items():
        short = {"says": answer} if isinstance(answer, str) else {"status": answer}
        project.answer(*when, **(answer if isinstance(answer, dict) else short))
    _, *command = shlex.split(expected(name).partition("\n")[0])
    while "=" in command[0]:
        setting, _, value = command.pop(0).partition("=")
        environ.setdefault(setting, value)
    script, *words = command
    # Where a script asks, it asks for the project's id.
    return project.execute(str(project.root / script), *words, stdin=f"{PROJECT}\n", **environ)


def transcript(name: str, project: Project) -> str:
    """Return what is typed, called, said and recorded in a run, and its status if it fails."""
    deliverables = project.root / "deliverables.yaml"
    before = set(entries(yaml.safe_load(deliverables.read_text())))
    ended = run(name, project)
    after = entries(yaml.safe_load(deliverables.read_text()))
    parts = {
        expected(name).partition("\n")[0]: "",
        "# gcloud and curl": "\n".join(as_text(*call) for call in project.record()),
        "# standard error": ended.stderr.strip("\n"),
        "# standard output": ended.stdout.strip(),
        "# deliverables.yaml": "\n".join(entry for entry in after if entry not in before),
    }
    if ended.returncode:
        parts[f"# exit status {ended.returncode}"] = ""
    text = "\n\n".join(f"{title}\n{part}".strip() for title, part in parts.items())
    return (
        without_time(text).replace(git(project.root, "rev-parse", "HEAD").strip(), "COMMIT") + "\n"
    )


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


def main() -> None:
    """Write the transcripts of all scenarios."""
    with tempfile.TemporaryDirectory() as folder:
        copy_repository(FOLDER.parents[3], Path(folder) / "committed")
        for name in SCENARIOS:
            (Path(folder) / name).mkdir()
            project = Project(Path(folder) / "committed", Path(folder) / name)
            (FOLDER / f"{name}.txt").write_text(transcript(name, project))


if __name__ == "__main__":
    main()
