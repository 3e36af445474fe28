"""Runs of the scripts that, together, make every kind of gcloud call, each with its transcript.

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
    POLICY,
    PROJECT,
    RUN_ACCOUNT,
    Project,
    copy_repository,
)

FOLDER = Path(__file__).with_name("transcripts")
MANY_WORDS = 11
Answers = dict[tuple[str, ...], int | str]

FIRST: Answers = {NO_SERVICE_YET: 0}
IS_PRIVATE: Answers = {POLICY: f"serviceAccount:{RUN_ACCOUNT}"}
IS_FORBIDDEN: Answers = {POLICY: "user:owner@example.com"}
NOTHING_THERE: Answers = {("gcloud", "describe"): 1}


@dataclass(frozen=True)
class Scenario:
    """A script, what it is told, and which calls answer nothing, with their status."""

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
            project.answer(*when, **{"says" if isinstance(answer, str) else "status": answer})  # type: ignore[arg-type]
        return project.run(self.script, *self.words, stdin=self.stdin, **self.environ)  # type: ignore[arg-type]  # no path among them

    def transcript(self, project: Project) -> str:
        """Return what is typed, called, said and recorded in a run that succeeds."""
        deliverables = project.root / "deliverables.yaml"
        before = set(entries(yaml.safe_load(deliverables.read_text())))
        ended = self.run(project)
        assert ended.returncode == 0, ended.stderr
        after = entries(yaml.safe_load(deliverables.read_text()))
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        parts = {
            f"$ {shlex.join([*settings, f'deployment/{self.script}', *self.words])}": "",
            "# gcloud and curl": "\n".join(as_text(*call) for call in project.everything()),
            "# standard error": ended.stderr.strip("\n"),
            "# standard output": ended.stdout.strip(),
            "# deliverables.yaml": "\n".join(entry for entry in after if entry not in before),
        }
        text = "\n\n".join(f"{title}\n{part}".strip() for title, part in parts.items())
        return text.replace(project.git("rev-parse", "HEAD").strip(), "COMMIT") + "\n"


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


def submit(component: str, **environ: str) -> Scenario:
    """Return a build of a component."""
    return Scenario(f"submit_build_{component}.sh", environ=environ)


TWO = {"MODELS": "swin_b,vgg16"}
SCENARIOS = {
    **{f"submit_{name}": submit(name) for name in ("frontend_v1", "frontend_v2", "v3_frontend")},
    **{f"submit_{name}": submit(name) for name in ("backend_v1", "backend_v2", "v3_gateway")},
    "submit_v3_backend": submit("v3_backend", BUILD_REGION="us-central1", **TWO),
    "submit_another_model": submit("backend_v1", MODEL_NAME="swin_b", PRECISION="int8", **TWO),
    "submit_some_models": submit("backend_v2", PRECISION="int8", **TWO),
    "deploy_backend_v1": deploy("backend_v1"),
    "deploy_backend_v1_first": deploy("backend_v1", FIRST),
    "deploy_backend_v1_older_image": deploy(
        "backend_v1", TAG="build-7", MIN_INSTANCES="1", MAX_INSTANCES="9", **TWO
    ),
    "deploy_backend_v1_first_private": deploy("backend_v1", {**FIRST, POLICY: ""}, PRIVATE="1"),
    "deploy_backend_v1_first_forbidden": deploy("backend_v1", {**FIRST, **IS_FORBIDDEN}),
    "deploy_backend_v2": deploy("backend_v2"),
    "deploy_backend_v2_becomes_private": deploy("backend_v2", PRIVATE="1"),
    "deploy_backend_v2_becomes_public": deploy("backend_v2", IS_PRIVATE, PRIVATE="0"),
    "deploy_backend_v2_stays_private": deploy("backend_v2", IS_PRIVATE),
    "deploy_backend_v2_private_again": deploy("backend_v2", IS_PRIVATE, PRIVATE="1"),
    "deploy_backend_v2_public_again": deploy("backend_v2", PRIVATE="0"),
    "deploy_frontend_v1": deploy("frontend_v1"),
    "deploy_frontend_v1_first": deploy("frontend_v1", FIRST),
    "deploy_frontend_v1_first_forbidden": deploy(
        "frontend_v1", {**FIRST, (*POLICY, "frontend-v1"): ""}
    ),
    "deploy_frontend_v2": deploy("frontend_v2"),
    "deploy_frontend_v2_of_private_backend": deploy("frontend_v2", IS_PRIVATE, API_GATEWAY="no"),
    "deploy_v3_backend": deploy("v3_backend", **TWO),
    "deploy_v3_backend_becomes_private": deploy("v3_backend", PRIVATE="1", **TWO),
    "deploy_v3_gateway": deploy("v3_gateway", **TWO),
    "deploy_v3_gateway_becomes_private": deploy("v3_gateway", PRIVATE="1", **TWO),
    "deploy_v3_gateway_first": deploy("v3_gateway", FIRST, PRIVATE="0", **TWO),
    "deploy_v3_frontend": deploy("v3_frontend"),
    "deploy_v3_frontend_of_another_gateway": deploy("v3_frontend", API_GATEWAY="https://g.dev"),
    **{
        f"rollback_{name}": Scenario("rollback.sh", (name,))
        for name in ("backend_v1", "frontend_v2", "v3_backend_swin_b", "v3_frontend")
    },
    "rollback_v3_gateway_to_a_named_revision": Scenario("rollback.sh", ("v3_gateway", "r-1")),
    "rollback_of_a_private_backend": Scenario("rollback.sh", ("backend_v2",), answers=IS_PRIVATE),
    "setup": Scenario("setup.sh", answers=NOTHING_THERE),
    "setup_again": Scenario("setup.sh"),
    "check": Scenario("check.sh"),
    "teardown": Scenario("teardown.sh", stdin=f"{PROJECT}\n"),
    "teardown_of_nothing": Scenario("teardown.sh", stdin=f"{PROJECT}\n", answers=NOTHING_THERE),
}


def main() -> None:
    """Write the transcripts of all scenarios."""
    with tempfile.TemporaryDirectory() as name:
        committed = Path(name) / "committed"
        copy_repository(FOLDER.parents[3], committed)
        for scenario, described in SCENARIOS.items():
            folder = Path(name) / scenario
            folder.mkdir()
            text = described.transcript(Project(committed, folder))
            (FOLDER / f"{scenario}.txt").write_text(text)


if __name__ == "__main__":
    main()
