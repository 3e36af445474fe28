"""Runs the scripts of the copy, as a person would, and gcloud."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.rehearsal.story.progress import Step, StepFailed

LIMIT_S = 3600


@dataclass(frozen=True)
class Scripts:
    """What can be run.

    Attributes:
        source: the copy of the repository.
        environ: what everything that is run sees.
    """

    source: Path
    environ: Mapping[str, str]

    def run(self, step: Step, script: str, *words: str, **variables: str) -> list[str]:
        """Return the lines that a script prints; what it says goes to the step's log.

        Raises:
            StepFailed: it failed.
        """
        status, lines = self._run(step, script, words, variables)
        if status:
            raise StepFailed(f"{script} ended with exit status {status}")
        return lines

    def run_failing(self, step: Step, script: str, **variables: str) -> str:
        """Return the last line that a script said when it failed, as it should.

        Raises:
            StepFailed: it did not fail.
        """
        status, _ = self._run(step, script, (), variables)
        if not status:
            raise StepFailed(f"{script} should have failed and did not")
        return step.log.read_text("utf-8", "replace").splitlines()[-1]

    def gcloud(self, *words: str) -> Any:
        """Return what a gcloud command answers."""
        done = subprocess.run(
            ["gcloud", *words, "--format=json"],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"gcloud {' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout or "null")

    def _run(
        self, step: Step, script: str, words: Sequence[str], variables: Mapping[str, str]
    ) -> tuple[int, list[str]]:
        with step.log.open("ab") as log:
            settings = [f"{name}={value}" for name, value in variables.items()]
            log.write(f"$ {' '.join([*settings, f'deployment/{script}', *words])}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [self.source / "deployment" / script, *words],
                cwd=self.source,
                env={**self.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
            )
            printed = _output(process)
            log.write(printed)
        return process.returncode, printed.decode().splitlines()


def _output(process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process prints until it ends; whatever happens, it does end."""
    try:
        printed, _ = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return printed
