"""Services that run side by side: seen ready, ended together, none left behind."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.services.conftest import free_port
from tests.unit.waiting import wait_until

Run = subprocess.Popen[str]
Start = Callable[..., Run]

# Runs stand-ins as `make run` runs its services. Each is given as its name and its arguments.
DRIVER = """
import os, sys
from tools import supervisor

supervisor.STOP_TIMEOUT_S = 1.5
services = [
    supervisor.Service(
        name=name,
        command=(sys.executable, "-m", "tests.services.stand_in", port, *arguments),
        environ=os.environ,
        ready_url=f"http://127.0.0.1:{port}/ready",
    )
    for port, name, *arguments in map(str.split, sys.argv[1:])
]
sys.exit(supervisor.supervise(services, "GO"))
"""
# Gets a signal, and another at every call and return while it handles that one.
INTERRUPTED = """
import os, signal, sys
from tools import supervisor

def say(text):
    for _ in range(50 if "GO" in text else 0):
        sys.setprofile(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        signal.raise_signal(signal.SIGTERM)
        sys.setprofile(None)

supervisor.say = say
sys.exit(supervisor.supervise([], "GO"))
"""


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Return a function that starts a run of stand-ins."""
    runs: list[Run] = []

    def start(*plans: str) -> Run:
        command = [sys.executable, "-c", DRIVER, *(f"{free_port()} {plan}" for plan in plans)]
        runs.append(subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True))
        return runs[-1]

    yield start
    end(runs)


def end(runs: list[Run]) -> None:
    """Stop the runs that have not ended."""
    for run in runs:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
        if run.stdout and not run.stdout.closed:
            run.communicate(timeout=20)


def read_until(run: Run, words: str) -> str:
    """Return what a run said up to the line with these words."""
    assert run.stdout is not None
    said = ""
    for line in run.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"never said {words!r}, but:\n{said}")


def finish(run: Run, said: str = "", limit_s: float = 20) -> tuple[int, str]:
    """Return a run's exit status and all it said, once it is over."""
    rest, _ = run.communicate(timeout=limit_s)
    return run.returncode, said + rest


def is_alive(pid: int) -> bool:
    """Return whether a process runs (one that ended but waits for its parent does not)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def assert_none_left(said: str) -> None:
    """Assert that the processes which services started are gone too."""
    children = [int(pid) for pid in re.findall(r"\| child (\d+)", said)]
    assert children
    wait_until(lambda: not any(map(is_alive, children)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_services_are_announced_once_ready_and_all_end_on_a_signal(
    number: signal.Signals, start: Start
) -> None:
    run = start("one", "two")
    said = read_until(run, "GO")
    time.sleep(0.6)  # longer than it takes to look at the services again
    run.send_signal(number)
    status, said = finish(run, said)
    assert status == 0
    assert "starting one" in said
    assert re.search(r"^one      \| child \d+$", said, re.MULTILINE)
    assert said.endswith("stopping\n")
    assert said.count("GO") == 1
    assert "GET" not in said  # the run's own questions are no news
    assert_none_left(said)


def test_a_signal_that_interrupts_the_handler_of_another_hangs_nothing(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=root, check=False, timeout=20)
    assert done.returncode == 0


def test_services_end_also_when_nobody_reads_the_output(start: Start) -> None:
    run = start("one", "two")
    said = read_until(run, "GO")
    assert run.stdout is not None
    run.stdout.close()
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=20)
    assert_none_left(said)


def test_a_model_that_still_loads_is_waited_for(start: Start) -> None:
    began = time.monotonic()
    read_until(start("quick", "slow --loads-for-s 1"), "GO")
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    ("plan", "reasons"),
    [
        ("--exit 3", ["two      | last words", "two ended by itself (exit status 3)"]),
        ("--absent no-network", ["\nno-network\n", "two cannot answer"]),
    ],
    ids=["it ends by itself", "its model cannot be loaded"],
)
def test_run_ends_with_the_reason_where_a_service_is_of_no_use(
    plan: str, reasons: list[str], start: Start
) -> None:
    status, said = finish(start("one --loads-for-s 9", f"two {plan}"))
    assert status == 1
    assert [said.count(reason) for reason in reasons] == [1, 1]
    assert f"{reasons[-1]}: stopping the rest" in said
    assert "GO" not in said
    assert_none_left(said)


def test_service_that_is_killed_ends_the_run_and_is_named(start: Start) -> None:
    run = start("one")
    (child,) = psutil.Process(run.pid).children() if read_until(run, "GO") else []
    child.kill()
    status, said = finish(run)
    assert (status, "one ended by itself (signal SIGKILL)" in said) == (1, True)


def test_service_that_does_not_stop_is_killed_with_its_children(start: Start) -> None:
    run = start("one", "two --stubborn")
    said = read_until(run, "GO")
    run.send_signal(signal.SIGTERM)
    status, said = finish(run, said)
    assert status == 0
    assert "two does not stop: killing it" in said
    assert "one does not stop" not in said
    assert_none_left(said)
