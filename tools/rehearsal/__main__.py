"""Rehearse the cloud on this machine: ``python -m tools.rehearsal``."""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.rehearsal.asking import browser
from tools.rehearsal.host import BROWSER, NEEDS, HostFailed, missing
from tools.rehearsal.progress import Progress, StepFailed, say
from tools.rehearsal.rehearsal import PROJECT, rehearsal
from tools.rehearsal.report import document, table
from tools.rehearsal.scenario import VERSIONS, play
from tools.rehearsal.stage import REGION, VARIABLE, Stage, models_here

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = Path("/var/tmp")  # noqa: S108  images take gigabytes, and /tmp may be memory
CACHE = Path("imgserve", "rehearsal")
WELCOME = """
This is a shell in {source}, a copy of the repository: your own
files stay as they are. Login, project ({project}) and region are set and setup.sh has run, all on
stand-ins for Google Cloud: leave out `gcloud auth login`, which would go to the real Google.

Type first:        deployment/submit_build_backend_v1.sh && deployment/deploy_backend_v1.sh
Change something:  edit backend_v1/app.py here, and type that again
See what runs:     gcloud run services list

`exit` or Ctrl-D leaves, and removes all of it.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Rehearse; return the exit status."""
    options = _parser().parse_args()
    versions = sorted(set(options.versions)) or list(VERSIONS)
    if lacks := missing(NEEDS if options.shell else {**NEEDS, **BROWSER}):
        say("\n".join(lacks))
        return 1
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    with _folder(options) as folder:
        try:
            return _rehearse(folder, options, versions)
        except HostFailed as exc:
            say(str(exc))
            return 1
        except StepFailed:
            return 1  # it has said why
        except KeyboardInterrupt:
            say("\nInterrupted.")
            return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.rehearsal",
        description="Run the scripts of deployment/, with the real gcloud, against stand-ins for"
        " Google Cloud on this machine. Nothing outside of it is changed.",
        epilog=f"{VARIABLE} limits the models (MODEL,MODEL,...); without it, they are those whose"
        " weights can be had here.",
    )
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="v1, v2 or v3 (default: all)", type=_version
    )
    parser.add_argument("--shell", action="store_true", help="set up, then leave the rest to you")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    parser.add_argument("--keep", action="store_true", help="leave the folder with all logs")
    parser.add_argument("--folder", type=Path, help="where to do it (default: a new one)")
    parser.add_argument("--cache", type=Path, default=_cache(), help="kept for the next time")
    return parser


def _version(word: str) -> str:
    if word not in VERSIONS:
        raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(VERSIONS)}")
    return word


def _cache() -> Path:
    """Return our folder in the user's cache (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / CACHE


def _interrupt(*_: object) -> None:
    """End what is going on; what cleans up after it is not to be interrupted again."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    """Have an empty folder until the end of the block, or for good."""
    if options.folder:
        options.folder.mkdir(parents=True)
        folder = options.folder.resolve()
    else:
        parent = os.environ.get("TMPDIR") or TEMPORARY
        folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=parent))
    try:
        yield folder
    finally:
        if options.keep:
            say(f"Everything is in {folder}. Nothing of it runs any more; this removes it:")
            say(f"  rm -rf {shlex.quote(str(folder))}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _rehearse(folder: Path, options: argparse.Namespace, versions: list[str]) -> int:
    progress = Progress(folder / "logs")
    models = models_here(ROOT)
    with contextlib.ExitStack() as stack:
        with progress.step("start"):
            own = stack.enter_context(rehearsal(folder, ROOT, options.cache, say))
            person = None if options.shell else stack.enter_context(browser())
        stage = Stage(own, progress, person, models)
        return shell(stage) if options.shell else _play(stage, folder, options, versions)


def _play(stage: Stage, folder: Path, options: argparse.Namespace, versions: list[str]) -> int:
    passed, steps = False, stage.progress.steps
    try:
        play(stage, versions)
        passed = True
    except StepFailed:
        options.keep = True  # the logs say why
    finally:
        found = document(steps, stage.builds, stage.models, passed=passed)
        for file in filter(None, (folder / "rehearsal.json", options.json)):
            file.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(table(steps, stage.builds, passed=passed), flush=True)
    return 0 if passed else 1


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


if __name__ == "__main__":
    sys.exit(main())
