"""Rehearse the cloud on this machine: ``python -m tools.rehearsal``."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.rehearsal.host import LOOPBACK, HostFailed, copy_source, missing
from tools.rehearsal.own_model import write_own_model
from tools.rehearsal.progress import Progress, StepFailed, say
from tools.rehearsal.rehearsal import PROJECT, Rehearsal, rehearsal
from tools.rehearsal.report import document
from tools.rehearsal.scenario import VERSIONS, play
from tools.rehearsal.stage import MODELS, Scripts, Stage

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = Path("/var/tmp")  # noqa: S108  images take gigabytes, and /tmp may be memory
REGION = "northamerica-northeast1"  # the scripts' default
CACHE = Path.home() / ".cache" / "imgserve" / "rehearsal"
WELCOME = """
This is a shell in {source}, a copy of the repository: your own
files stay as they are. Login, project ({project}) and region are set and setup.sh has run, all on
stand-ins for Google Cloud: leave out `gcloud auth login`, which would go to the real Google.

Type first:  deployment/submit_build_backend_v1.sh && deployment/deploy_backend_v1.sh
`exit` or Ctrl-D leaves, and removes all of it.
"""
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(words: Sequence[str]) -> int:
    """Rehearse; return the exit status."""
    options = _parser().parse_args(words)
    if lacks := missing():
        say("\n".join(lacks))
        return 1
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), LOOPBACK)  # all that we ask is here
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=os.environ.get("TMPDIR") or TEMPORARY))
    try:
        progress = Progress(folder / "logs")
        with rehearsal(folder, CACHE, say, is_measured=bool(options.json)) as own:
            if options.shell:
                status = shell(_stage("source", folder, own, progress, Scripts()))
            else:
                status = _play(folder, own, progress, options)
    except (HostFailed, StepFailed) as exc:
        say(f"FAIL: {exc}\nThe logs are in {folder}: rm -rf {folder}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted.")
        status = INTERRUPTED
    shutil.rmtree(folder, ignore_errors=status == INTERRUPTED)  # else nothing writes there now
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.rehearsal",
        description="Run the scripts of deployment/, with the real gcloud, against stand-ins for"
        " Google Cloud on this machine. Nothing outside of it is changed.",
    )
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="v1, v2 or v3 (default: all)", type=_version
    )
    parser.add_argument("--shell", action="store_true", help="set up, then leave the rest to you")
    says = "write how long everything took, one version after the other"
    parser.add_argument("--json", type=Path, metavar="FILE", help=says)
    return parser


def _version(word: str) -> str:
    if word not in VERSIONS:
        raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(VERSIONS)}")
    return word


def _interrupt(*_: object) -> None:
    """End what is going on; what cleans up after it is not to be interrupted again."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def _stage(name: str, folder: Path, own: Rehearsal, progress: Progress, scripts: Scripts) -> Stage:
    copy_source(ROOT, folder / name)
    write_own_model(folder / name)
    return Stage(own, folder / name, progress, scripts)


def _play(folder: Path, own: Rehearsal, progress: Progress, options: argparse.Namespace) -> int:
    scripts, versions = Scripts(), sorted(set(options.versions)) or list(VERSIONS)
    stages = {version: _stage(version, folder, own, progress, scripts) for version in versions}
    play(stages, at_once=1 if options.json else len(stages))
    builds = [build for stage in stages.values() for build in stage.builds]
    if options.json:
        found = document(progress.steps, builds)
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    say(f"PASS: {len(progress.steps)} steps and {len(builds)} builds")
    return 0


def shell(stage: Stage) -> int:
    """Set the project up and run a shell until it ends: a person's, or of standard input.

    Returns 0 to a person, whatever the last command returned; else the shell's exit status.
    """
    with stage.progress.step("setup.sh") as step:
        stage.run(step, "setup.sh")
    limits = {"MODEL_NAME": MODELS[0], "MODELS": ",".join(MODELS)}
    environ = {**stage.rehearsal.environ, **limits, "CLOUDSDK_RUN_REGION": REGION}
    (stage.source / ".venv").symlink_to(sys.prefix)  # it is in no build: they list what is
    say(WELCOME.format(source=stage.source, project=PROJECT))
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for what runs in the shell
    command = os.environ.get("SHELL") or "/bin/sh"
    status = subprocess.call(command, cwd=stage.source, env=environ)
    return 0 if sys.stdin.isatty() else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
