"""Watch running services until told to stop."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from imgserve.processes.child import Child, Service, ended, stop
from imgserve.processes.output import USER_AGENT, say

STOP_TIMEOUT_S = 12.0  # a backend finishes the requests it has within 10 s
POLL_S = 0.25
REMIND_S = 10.0

Announce = Callable[[Sequence[str]], str]


class Progress:
    """Shows once that all services are ready, and until then now and then which are not."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._announced = False
        self._started = self._reminded = time.monotonic()

    def show(self, children: Sequence[Child], http: requests.Session) -> None:
        """Ask the services that were not ready and say what is new."""
        if self._announced:
            return
        waiting = [child.service.name for child in children if not child.is_settled(http)]
        now = time.monotonic()
        if not waiting:
            self._announced = True
            self._say_what_there_is(children, now - self._started)
        elif now - self._reminded >= REMIND_S:
            self._reminded = now
            say(f"waiting for {' and '.join(waiting)} ({now - self._started:.0f} s)")

    def _say_what_there_is(self, children: Sequence[Child], waited_s: float) -> None:
        ready = [child.service.name for child in children if child.ready]
        say(f"\nReady after {waited_s:.0f} s.")
        for child in children:
            if child.absent:
                say(f"{child.service.name} is absent: {child.absent}")
        say(self._announce(ready))


def supervise(
    services: Sequence[Service],
    folder: Path,
    announce: Announce,
    stop_timeout_s: float = STOP_TIMEOUT_S,
) -> int:
    """Run services in a folder until told to stop or one that is needed ends.

    Args:
        services: what to run.
        folder: where.
        announce: given the names of those that are ready, what to say once none is waited for.
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
    """Wait until told to stop or too much has ended; return the exit status.

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
            progress.show(children, http)
    return 0


def _can_go_on(gone: Child, left: Sequence[Child]) -> bool:
    """Say that a service ended by itself; return whether the others are of use without it."""
    needed = gone.service.is_needed or all(child.service.is_needed for child in left)
    then = "stopping the rest" if needed else "the rest goes on without it"
    say(f"{gone.service.name} ended by itself ({ended(gone.process.returncode)}): {then}")
    return not needed
