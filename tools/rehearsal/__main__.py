"""Rehearse the cloud on this machine: ``python -m tools.rehearsal``."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.process import LOOPBACK, ROOT, Failed
from tools.rehearsal.host import copy_source, missing, say
from tools.rehearsal.rehearsal import BUILT_IN, OWN, PROJECT, Rehearsal, rehearsal
from tools.rehearsal.scenario import REGION, VERSIONS, play
from tools.rehearsal.stage import Stage

TEMPORARY = Path("/var/tmp")  # noqa: S108  images take gigabytes, and /tmp may be memory
WELCOME = """
This is a shell in {source}, a copy of the repository: your own
files stay as they are. Login, project ({project}) and region are set and setup.sh has run, all on
stand-ins for Google Cloud: leave out `gcloud auth login`, which would go to the real Google.

Type first:  deployment/submit_build_backend_v1.sh && deployment/deploy_backend_v1.sh
`exit` or Ctrl-D leaves, and removes all of it.
"""
# What describes a person's own model.
DESCRIPTION = f"""\
[{OWN}]
title = "A model of mine"
architecture = "{BUILT_IN}"
weights = "trained/{OWN}.pt"
labels = "trained/labels.txt"
"""
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(words: Sequence[str]) -> int:
    options = _options(words)
    if lacks := missing():
        say("\n".join(lacks))
        return 1
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), LOOPBACK)  # all that we ask is here
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=os.environ.get("TMPDIR") or TEMPORARY))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "torch")  # which importing torch makes
    try:
        with rehearsal(folder) as own:
            if options.shell:
                status = shell(_stage(folder / "source", own))
            else:
                versions = sorted({*options.versions} or VERSIONS)
                play({version: _stage(folder / version, own) for version in versions})
                status = 0
    except Failed as exc:
        say(f"FAIL: {exc}\nThe logs are in {folder}: rm -rf {folder}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted.")
        status = INTERRUPTED
    shutil.rmtree(folder, ignore_errors=status == INTERRUPTED)  # else nothing writes there now
    return status


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.rehearsal",
        description="Run the scripts of deployment/, with the real gcloud, against stand-ins for"
        " Google Cloud on this machine. Nothing outside of it is changed.",
    )
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="v1, v2, v3 (default: all)")
    parser.add_argument("--shell", action="store_true", help="set up, then leave the rest to you")
    options = parser.parse_args(words)
    for version in options.versions:
        if version not in VERSIONS:
            parser.error(f"{version!r} is none of {', '.join(VERSIONS)}")
    return options


def _interrupt(*_: object) -> None:
    """End what is going on; what cleans up after it is not to be interrupted again."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def _stage(source: Path, own: Rehearsal) -> Stage:
    """Copy the repository, with a person's own model: the built-in one as a training leaves it."""
    import torch

    from imgserve.compile.weights import default_weights

    copy_source(ROOT, source)
    weights, trained = default_weights(BUILT_IN), source / "trained"
    trained.mkdir()
    torch.save(weights.get_state_dict(), trained / f"{OWN}.pt")
    labels = "\n".join(weights.meta["categories"])
    (trained / "labels.txt").write_text(f"{labels}\n", "utf-8")
    (source / "models.toml").write_text(DESCRIPTION, "utf-8")
    return Stage(own, source)


def shell(stage: Stage) -> int:
    """Set the project up and run a shell until it ends: a person's, or of standard input.

    Returns 0 to a person, whatever the last command returned; else the shell's exit status.
    """
    with stage.step("setup.sh"):
        stage.run("setup.sh")
    environ = {**stage.rehearsal.environ, "CLOUDSDK_RUN_REGION": REGION}
    (stage.source / ".venv").symlink_to(sys.prefix)  # it is in no build: they list what is
    say(WELCOME.format(source=stage.source, project=PROJECT))
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for what runs in the shell
    status = subprocess.call(os.environ.get("SHELL") or "/bin/sh", cwd=stage.source, env=environ)
    return 0 if sys.stdin.isatty() else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
