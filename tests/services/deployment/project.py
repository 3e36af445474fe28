"""A copy of what the deployment scripts read, with stand-ins for what they call."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    unread = shutil.ignore_patterns("rehearsal", "__pycache__")
    shutil.copytree(root / "deployment", folder / "deployment", ignore=unread)
    for name in ("deliverables.yaml", "v3/gateway/backends.toml", "imgserve/samples/cat.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    git(folder, "init", "--quiet", "--template=")
    git(folder, "remote", "add", "origin", REMOTE)
    git(folder, "add", "--all")
    person = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    git(folder, *person, "commit", "--quiet", "--message=All of it")


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
            self._stand_in(tool)

    def forget(self) -> None:
        """Begin a new record, with the usual answers and no call that fails."""
        self._rules: list[dict[str, Any]] = []
        (self.folder / "calls.jsonl").write_text("")
        (self.folder / "fails.txt").write_text("")

    def git(self, *words: str) -> str:
        """Return what a git command in the copy answers."""
        return git(self.root, *words)

    def _stand_in(self, tool: str) -> None:
        program = [sys.executable, "-I", "-S", gcloud_stand_in.__file__, tool, str(self.folder)]
        (self.bin / tool).write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n')
        (self.bin / tool).chmod(0o755)

    def answer(
        self,
        *when: str,
        says: str | list[str] = "",
        status: int | list[int] = 0,
        complains: str = "",
    ) -> None:
        """Answer calls that have all these arguments; what is said last counts first."""
        says = [says] if isinstance(says, str) else says
        status = [status] if isinstance(status, int) else status
        rule = {"when": when, "says": says, "status": status, "complains": complains}
        self._rules.insert(0, rule)

    def fail_at(self, number: int) -> None:
        """Make one call of gcloud fail, the first being 0."""
        (self.folder / "fails.txt").write_text(str(number))

    def run(
        self,
        script: str,
        *words: str,
        stdin: str | None = "",
        cwd: Path | None = None,
        called: str = "",
        **environ: str | None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end.

        Args:
            script: its name in deployment/.
            words: its arguments.
            stdin: what is typed; None closes it.
            cwd: where it is called from, by default from elsewhere.
            called: how, if not by its full path.
            environ: further variables; None removes one.
        """
        usual = [
            {"when": when, "says": [says], "status": [0], "complains": ""}
            for when, says in ANSWERS.items()
        ]
        (self.folder / "rules.json").write_text(json.dumps(self._rules + usual))
        variables = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PROJECT_ID": PROJECT,
            "HOME": str(self.folder),
            "PAUSE_S": "0",
            **NOBODY,
            **environ,
        }
        command = [called or str(self.root / "deployment" / script), *words]
        if stdin is None:
            command = ["bash", "-c", 'exec "$@" <&-', "bash", *command]
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

    def calls(self, tool: str = "gcloud") -> list[list[str]]:
        """Return each call's arguments, with ROOT where the copy's path stood."""
        return [
            [self._short(word) for word in each["argv"]]
            for each in self.record()
            if each["argv"][0] == tool
        ]

    def everything(self) -> list[tuple[list[str], str]]:
        """Return the arguments and the standard input of each call, of gcloud and of curl."""
        record = self.record()
        return [([*map(self._short, each["argv"])], each["stdin"].strip()) for each in record]

    def record(self) -> list[dict[str, Any]]:
        """Return all that was written down of the calls."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _short(self, word: str) -> str:
        word = word.replace(f"{self.root}/deployment/..", "ROOT").replace(str(self.root), "ROOT")
        return without_time(word)
