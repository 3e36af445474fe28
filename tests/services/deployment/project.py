"""A copy of what the deployment scripts read, with stand-ins for what they call."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.services.deployment import gcloud_stand_in

PROJECT = "my-project"
REGION = "northamerica-northeast1"
IMAGES = f"{REGION}-docker.pkg.dev/{PROJECT}/imgserve"
APIS = ("artifactregistry", "cloudbuild", "iam", "logging", "run", "secretmanager", "storage")
REMOTE = "https://git.example/imgserve.git"

RUN_ACCOUNT = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
NAME_AND_REVISION = "--format=value(metadata.name,status.latestReadyRevisionName)"
# What answers nothing before a service's first deploy, and what says who may call a service.
NO_SERVICE_YET = ("gcloud", "services", "list", NAME_AND_REVISION)
POLICY = ("gcloud", "get-iam-policy")

# Services with their regions.
OURS = f"{REGION}\tbackend-v1\n{REGION}\tfrontend-v1\n"

# What a project answers in which everything is there, deployed and well. `{name}` is the service.
ANSWERS: dict[tuple[str, ...], str] = {
    ("gcloud", "config", "get-value"): "project-of-gcloud\n",
    ("gcloud", "builds", "submit"): "build-1\n",
    ("gcloud", "builds", "describe"): "SUCCESS\tSUCCESS\tbuild the app image\n",
    ("gcloud", "run", "list", "*status.traffic.tag=*"): "r-new\thttps://tag---{name}.a.run.app\n",
    ("gcloud", "run", "list", "--format=value(status.url)"): "https://{name}.a.run.app\n",
    ("gcloud", "services", "list", NAME_AND_REVISION): "{name}\tr-00003-ccc\n",
    ("gcloud", "run", "list", "*status.traffic.percent>0"): "r-00003-ccc\n",
    ("gcloud", "run", "list", "--filter=spec.template*"): OURS,
    ("gcloud", "versions", "describe"): "projects/1/secrets/imgserve-key/versions/3\n",
    ("gcloud", "version"): "Google Cloud SDK 528.0.0\nbeta 2025.06.20\n",
    ("curl", "--version"): "curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1\n",
    ("gcloud", "revisions", "list"): "r-00003-ccc\nr-00002-bbb\nr-00001-aaa\n",
    POLICY: "allUsers\n",
    ("gcloud", "print-identity-token"): "the-token\n",
    ("gcloud", "auth", "list"): "me@example.com\n",
    ("gcloud", "billing"): "True\n",
    ("gcloud", "services", "list", "--enabled"): "".join(f"{api}.googleapis.com\n" for api in APIS),
    ("gcloud", "projects", "describe", "--format=value(projectId)"): f"{PROJECT}\n",
    ("curl", "*/hello"): '"Hello!"\n',
    ("curl", "*/predict"): '{"category": "tabby"}\n',
    ("curl", "*/models"): '["efficientnet_lite0","swin_b"]\n',
    ("curl", "*/_stcore/health"): "ok",
    (): "",
}

NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "LC_ALL": "C"}


def git(folder: Path, *words: str) -> str:
    """Return what a git command in a folder answers, whoever calls it."""
    return subprocess.run(
        ["git", "-C", str(folder), *words],
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **NOBODY},
        capture_output=True,
        text=True,
    ).stdout


def without_time(text: str) -> str:
    """Return a text without the time and the random end of tags."""
    return re.sub(r"try-[1-9a-f][0-9a-f]{10}(?![0-9a-f])", "try-TAG", text)


def gcloud_environ(folder: Path) -> dict[str, str]:
    """Return all the variables that the real gcloud gets: as nobody, it keeps to a folder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }


def copy_repository(root: Path, folder: Path) -> None:
    """Copy and commit what the scripts read."""
    shutil.copytree(root / "deployment", folder / "deployment")
    for name in ("deliverables.yaml", "v3/gateway/backends.toml", "imgserve/samples/cat.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    git(folder, "init", "--quiet", "--template=")
    git(folder, "remote", "add", "origin", REMOTE)
    git(folder, "add", "--all")
    person = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    git(folder, *person, "commit", "--quiet", "--message=All of it")


class Call(NamedTuple):
    """A call of gcloud or curl, and what it was given on standard input."""

    argv: list[str]
    stdin: str


class Project:
    """The scripts in a folder whose path has a space, with a record of what they called."""

    def __init__(self, committed: Path, folder: Path) -> None:
        self.root = folder / "my code" / "imgserve"
        self.folder = folder / "stand-in"
        self.bin = folder / "bin"
        shutil.copytree(committed, self.root)
        self.folder.mkdir()
        self.bin.mkdir()
        self.forget()
        for tool in ("gcloud", "curl"):
            program = [sys.executable, "-I", "-S", gcloud_stand_in.__file__, tool, str(self.folder)]
            (self.bin / tool).write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
            (self.bin / tool).chmod(0o755)

    def forget(self) -> None:
        """Begin a new record, with the usual answers."""
        self._rules: list[dict[str, Any]] = []
        for when, says in reversed(ANSWERS.items()):
            self.answer(*when, says=says)
        (self.folder / "calls.jsonl").write_text("")

    def answer(self, *when: str, **answer: Any) -> None:
        """Answer calls that have all these arguments; what is said last counts first.

        Args:
            when: patterns of arguments.
            answer: what one call says (`says`, `complains`) and its `status`, or lists of these for
                one call after another; with `call`, of the call of gcloud that has this number.
        """
        self._rules.insert(0, {"when": when, **answer})

    def run(self, script: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a script of deployment/ to its end, as `execute` does."""
        return self.execute(str(self.root / "deployment" / script), *words, **options)

    def execute(
        self, *command: str, stdin: str = "", cwd: Path | None = None, **environ: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with the stand-ins.

        Args:
            command: its words.
            stdin: what is typed.
            cwd: where it is called from, by default from elsewhere.
            environ: further variables; None removes one.
        """
        (self.folder / "rules.json").write_text(json.dumps(self._rules))
        variables = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PROJECT_ID": PROJECT,
            "HOME": str(self.folder),
            "PAUSE_S": "0",
            **NOBODY,
            **environ,
        }
        return subprocess.run(
            command,
            check=False,
            cwd=cwd or self.folder,
            env={name: value for name, value in variables.items() if value is not None},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,  # a signal to its group is for it alone
        )

    def record(self) -> list[Call]:
        """Return all calls, with ROOT where the copy's path stood."""
        calls = map(json.loads, (self.folder / "calls.jsonl").read_text().splitlines())
        return [Call([self._short(word) for word in call["argv"]], call["stdin"]) for call in calls]

    def calls(self, tool: str = "gcloud") -> list[list[str]]:
        """Return the arguments of each call of a tool."""
        return [call.argv for call in self.record() if call.argv[0] == tool]

    def _short(self, word: str) -> str:
        word = word.replace(f"{self.root}/deployment/..", "ROOT").replace(str(self.root), "ROOT")
        return without_time(word)
