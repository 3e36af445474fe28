"""Watch running services until told to stop."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from tools.processes.child import Child, Service, ended, stop
from tools.processes.output import USER_AGENT, say

STOP_TIMEOUT_S = 12.0  # a backend finishes the requests it has within 10 s
POLL_S = 0.25
REMIND_S = 10.0

Announce = Callable[[Sequence[str]], str]


class Progress:
    """Says once that no service is waited for, and until then now and then which are."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._announced = False
        self._started = self._reminded = time.monotonic()

    def show(self, children: Sequence[Child], waiting: Sequence[str]) -> None:
        """Say what is new, given the names of those that are waited for."""
        if self._announced:
            return
        now = time.monotonic()
        if not waiting:
            self._announced = True
            say(f"\nReady after {now - self._started:.0f} s.")
            _say_what_is_absent(children)
            say(self._announce([model for child in children for model in child.models]))
        elif now - self._reminded >= REMIND_S:
            self._reminded = now
            say(f"waiting for {' and '.join(waiting)} ({now - self._started:.0f} s)")


def supervise(
    services: Sequence[Service],
    folder: Path,
    announce: Announce,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> int:
    """Run services in a folder until told to stop, or until what is left is of no use.

    Args:
        services: what to run.
        folder: where.
        announce: given the models that there are, what to say once no service is waited for.
        stop_timeout_s: how long they have to end before they are killed.

    Returns:
        The exit status: 0 when told to stop.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    children: list[Child] = []
    try:
        for service in services:
            say(f"starting {service.name}")
            children.append(Child(service, folder))
        return _watch(children, stopped, Progress(announce))
    finally:
        say("stopping")
        stop(children, stop_timeout_s)


def _watch(children: list[Child], stopped: threading.Event, progress: Progress) -> int:
    """Wait until told to stop or too little is left; return the exit status.

    What ended by itself is taken from ``children``.
    """
    with requests.Session() as http:
        http.headers["User-Agent"] = USER_AGENT
        http.trust_env = False  # a proxy has no business on the way to this machine
        while not stopped.wait(POLL_S):
            for child in [each for each in children if each.process.poll() is not None]:
                children.remove(child)
                child.clear_up()
                if not _can_go_on(child, children):
                    return 1
            waiting = [child.service.name for child in children if not child.is_settled(http)]
            if not _can_answer(children):
                return 1
            progress.show(children, waiting)
    return 0


def _can_go_on(gone: Child, left: Sequence[Child]) -> bool:
    """Say that a service ended by itself; return whether the others are of use without it."""
    goes_on = bool(gone.service.models) and any(child.models for child in left)
    then = "the rest goes on without it" if goes_on else "stopping the rest"
    say(f"{gone.service.name} ended by itself ({ended(gone.process.returncode)}): {then}")
    return goes_on


def _can_answer(children: Sequence[Child]) -> bool:
    """Return whether there is a model, or may be; say so where none can be had."""
    if any(child.models for child in children) or not any(child.absent for child in children):
        return True
    say("")
    _say_what_is_absent(children)
    say("there is no other model to answer: stopping the rest")
    return False


def _say_what_is_absent(children: Sequence[Child]) -> None:
    for child in children:
        if child.absent:
            say(child.absent)
