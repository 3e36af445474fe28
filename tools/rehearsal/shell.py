"""A shell in the copy of the repository, with everything running, for a person to try things."""

import os
import signal
import subprocess
import sys

from tools.rehearsal.progress import say
from tools.rehearsal.rehearsal import PROJECT
from tools.rehearsal.stage import REGION, Stage

WELCOME = """
This is a shell in {source}, a copy of the repository: your own
files stay as they are. Login, project ({project}) and region are set and setup.sh has run, all on
stand-ins for Google Cloud: leave out `gcloud auth login`, which would go to the real Google.

Type first:        deployment/submit_build_backend_v1.sh && deployment/deploy_backend_v1.sh
Change something:  edit backend_v1/app.py here, and type that again
See what runs:     gcloud run services list

`exit` or Ctrl-D leaves, and removes all of it.
"""


def shell(stage: Stage) -> int:
    """Set the project up and have the person's shell until it ends; return 0.

    Where nobody is at a terminal, it takes its commands from standard input, and its exit status
    is what is returned.
    """
    source, models = stage.rehearsal.source, stage.models
    with stage.progress.step("setup.sh") as step:
        stage.run(step, "setup.sh")
    program = os.environ.get("SHELL") or "/bin/sh"
    limits = {"MODEL_NAME": models[0], "MODELS": ",".join(models)} if models else {}
    environ = {**stage.rehearsal.environ, **limits, "CLOUDSDK_RUN_REGION": REGION}
    (source / ".venv").symlink_to(sys.prefix)  # it is in no build: they list what is
    say(WELCOME.format(source=source, project=PROJECT))
    with_person = sys.stdin.isatty()
    # Ctrl-C is for what runs in the shell.
    before = signal.signal(signal.SIGINT, _leave_alone)
    try:
        command = [program, "-i" if with_person else "-s"]
        status = subprocess.call(command, cwd=source, env=environ)
    finally:
        signal.signal(signal.SIGINT, before)
    return 0 if with_person else status  # of a person's last command, whatever it was


def _leave_alone(*_: object) -> None:
    """Take a signal and do nothing: unlike an ignored one, it is not ignored in the shell."""
