"""A `docker` command without a daemon: what it calls a container is a process of this machine.

It knows just what Cloud Run's stand-in asks for. Every image runs `container_stand_in.py`; the
tag `missing` is in no registry. `install` puts the command into a folder for PATH.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(__file__).with_name("container_stand_in.py")
FOLDER = "DOCKER_STAND_IN"
DIGEST = f"sha256:{'5' * 64}"
POLL_S = 0.02
LIMIT_S = 600.0  # no test lasts longer


def install(bin_folder: Path, state: Path) -> dict[str, str]:
    """Put the command into a folder; return the variables that it needs."""
    bin_folder.mkdir()
    state.mkdir()
    command = bin_folder / "docker"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
    command.chmod(0o755)
    return {FOLDER: str(state), "PATH": f"{bin_folder}:{os.environ['PATH']}"}


def running(state: Path) -> list[str]:
    """Return the names of the containers that run."""
    return sorted(each.stem for each in state.glob("*.json") if not _ended(state, each.stem))


def end_all(state: Path) -> None:
    """Kill what is left."""
    for name in running(state):
        _kill(state, name, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Do what docker would."""
    state = Path(os.environ[FOLDER])
    verb, *rest = arguments
    with (state / "commands.log").open("a") as log:
        log.write(f"{json.dumps(arguments)}\n")
    if verb == "pull" and rest[-1].endswith(":missing"):
        sys.exit("Error response from daemon: manifest unknown")
    if verb == "image":
        print(json.dumps([f"{rest[-1].rpartition(':')[0]}@{DIGEST}"]))
    elif verb in {"logs", "wait", "stop", "rm", "inspect", "ps", "run", "supervise"}:
        globals()[f"_{verb}"](state, rest)


def _run(state: Path, rest: list[str]) -> None:
    name = next(each for each in rest if each.startswith("--name=")).partition("=")[2]
    labels = [each.partition("=")[2] for each in rest if each.startswith("--label=")]
    given = [each.partition("=")[2] for each in rest if each.startswith("--env=")]
    env = {"PATH": os.environ["PATH"]}
    for each in given:
        key, sign, value = each.partition("=")
        env[key] = value if sign else os.environ[key]
    if env.get("REFUSE_LIMITS") and any(each.startswith("--memory") for each in rest):
        sys.exit("docker: Error response from daemon: no memory cgroup.")
    (state / f"{name}.json").write_text(json.dumps({"labels": labels, "env": env}))
    subprocess.Popen(
        [sys.executable, __file__, "supervise", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _until((state / f"{name}.pid").exists)


def _supervise(state: Path, rest: list[str]) -> None:
    """Run the container's process and write down how it ends."""
    [name] = rest
    env = json.loads((state / f"{name}.json").read_text())["env"]
    with (state / f"{name}.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, PROGRAM], env=env, stdout=log, stderr=log)
        draft = state / f"{name}.draft"
        draft.write_text(str(child.pid))
        draft.rename(state / f"{name}.pid")
        status = child.wait()
    (state / f"{name}.end").write_text(str(status if status >= 0 else 128 - status))


def _wait(state: Path, rest: list[str]) -> None:
    _until(lambda: _ended(state, rest[-1]))
    print((state / f"{rest[-1]}.end").read_text())


def _logs(state: Path, rest: list[str]) -> None:
    with (state / f"{rest[-1]}.log").open("rb") as log:
        while True:
            over = _ended(state, rest[-1])
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
            if over:
                return
            time.sleep(POLL_S)


def _stop(state: Path, rest: list[str]) -> None:
    _kill(state, rest[-1], signal.SIGTERM)
    _until(lambda: _ended(state, rest[-1]))


def _rm(state: Path, rest: list[str]) -> None:
    if not (state / f"{rest[-1]}.json").exists():
        sys.exit(f"Error response from daemon: No such container: {rest[-1]}")
    _kill(state, rest[-1], signal.SIGKILL)
    _until(lambda: _ended(state, rest[-1]))
    for suffix in ("json", "pid", "log", "end"):
        (state / f"{rest[-1]}.{suffix}").unlink()


def _inspect(state: Path, rest: list[str]) -> None:
    env = json.loads((state / f"{rest[-1]}.json").read_text())["env"]
    print("true" if "GREEDY" in env else "false")


def _ps(state: Path, rest: list[str]) -> None:
    owner = next(each for each in rest if each.startswith("label=")).partition("=")[2]
    for file in state.glob("*.json"):
        labels = json.loads(file.read_text())["labels"]
        if owner in labels:
            values = dict(each.split("=", 1) for each in labels)
            state_word = "exited" if _ended(state, file.stem) else "running"
            shown = (values["rehearsal.revision"], values["rehearsal.port"])
            print(file.stem, *shown, state_word, sep="\t")


def _ended(state: Path, name: str) -> bool:
    return (state / f"{name}.end").exists()


def _kill(state: Path, name: str, number: signal.Signals) -> None:
    if not _ended(state, name):
        os.kill(int((state / f"{name}.pid").read_text()), number)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > end:
            sys.exit("this took too long")
        time.sleep(POLL_S)


if __name__ == "__main__":
    main(sys.argv[1:])
