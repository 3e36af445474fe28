"""The real gcloud understands every kind of command line that the scripts make.

It gets as far as asking Google, for which a stand-in answers.
"""

import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.deployment.google import google
from tests.services.deployment.project import Project
from tests.services.deployment.scenarios import SCENARIOS

AT_ONCE = 2  # each takes a second of a CPU
TIMEOUT_S = 120
# What these ask, this machine's own files answer.
OFFLINE = {("gcloud", "config", "get-value"), ("gcloud", "auth", "list")}
SIGNED_OUT = ("gcloud", "auth", "print-identity-token")
KEPT = re.compile(r"--(format|filter|flatten|sort-by)=")
NAMES = {
    r"\b(backend-v\d|frontend-v\d|v3-gateway|v3-frontend|v3-backend-[a-z0-9-]+)\b": "SERVICE",
    r"\br-[\w-]+|SERVICE-0[\w-]+": "REVISION",
    r"imgserve-(build|run)\b": "ACCOUNT",
    r"tag=(candidate|rollback)": "tag=TAG",
}


def shape(call: list[str]) -> tuple[str, ...]:
    """Return what makes a command line another kind: its words, flags and expressions."""
    words = []
    for word in call:
        kind = word if KEPT.match(word) else re.sub(r"^(--[a-z-]+=\^?).*", r"\1", word)
        for pattern, name in NAMES.items():
            kind = re.sub(pattern, name, kind)
        words.append(kind)
    return tuple(words)


@pytest.fixture
def kinds(project: Project) -> list[list[str]]:
    """Return a command line of each kind that the scripts make."""
    found: dict[tuple[str, ...], list[str]] = {}
    for scenario in SCENARIOS.values():
        scenario.run(project)
        for each in project.record():
            if each["argv"][0] == "gcloud":
                found.setdefault(shape(each["argv"]), each["argv"])
    return list(found.values())


@pytest.fixture
def gcloud() -> str:
    """Return the real gcloud."""
    path = shutil.which("gcloud")
    if path is None:
        pytest.skip("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    return path


@dataclass(frozen=True)
class Answer:
    """What the real gcloud made of a command line."""

    call: list[str]
    status: int
    said: str
    requests: list[str]

    @property
    def understood(self) -> bool:
        """Return whether it got as far as it can without Google.

        Wrong flags and values are found before anything is asked, wrong expressions after that.
        """
        if tuple(self.call[:3]) in OFFLINE:
            return self.status == 0
        if tuple(self.call[:3]) == SIGNED_OUT:
            return "credential" in self.said
        told = re.search("nothing is there|could not be found|not found: 404", self.said)
        return bool(self.requests) and (self.status == 0 or bool(told))


def ask(gcloud: str, call: list[str], folder: Path) -> Answer:
    """Return what the real gcloud makes of a command line."""
    folder.mkdir()
    with google() as asked:
        ended = subprocess.run(
            [gcloud, *call[1:]],
            check=False,
            env=asked.environ(folder),
            input="a secret",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        return Answer(call, ended.returncode, ended.stderr, asked.requests)


def ask_all(gcloud: str, calls: list[list[str]], folder: Path) -> list[Answer]:
    """Return what the real gcloud makes of command lines, a few at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [
            pool.submit(ask, gcloud, call, folder / f"gcloud-{number}")
            for number, call in enumerate(calls)
        ]
        return [each.result() for each in asked]


def test_gcloud_understands_every_kind_of_command_line(
    gcloud: str, kinds: list[list[str]], tmp_path: Path
) -> None:
    answers = ask_all(gcloud, kinds, tmp_path)
    assert len(answers) > 30
    wrong = [f"{shlex.join(each.call)}\n{each.said}" for each in answers if not each.understood]
    assert not wrong, "\n".join(wrong)


LIST = ("gcloud", "run", "services", "list")
IN = ("--project=p", "--region=r")


@pytest.mark.parametrize(
    "wrong",
    [
        [*LIST, "--project=p", "--regoin=europe-west1"],
        [*("gcloud", "run", "deploy", "s"), *IN, "--image=i", "--max-instances=x"],
        [*LIST, *IN, "--filter=a = ("],
    ],
    ids=["flag", "value", "expression"],
)
def test_gcloud_does_not_understand_what_is_wrong(
    gcloud: str, wrong: list[str], tmp_path: Path
) -> None:
    """Else the test above could not fail."""
    (answer,) = ask_all(gcloud, [wrong], tmp_path)
    assert not answer.understood
