"""Ports of this machine: which are wanted, which can be had."""

import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from tools.run.command import command
from tools.run.settings import RunSettings

LOOPBACK = "127.0.0.1"
HIGHEST = 65535


@dataclass(frozen=True)
class Wanted:
    """Ports in a row that one variable decides, and who they are for."""

    variable: str
    first: int
    count: int = 1

    def __iter__(self) -> Iterator[int]:
        """Yield each port."""
        return iter(range(self.first, self.first + self.count))


def wanted(settings: RunSettings) -> list[Wanted]:
    """Return the ports that a version takes."""
    frontend = Wanted("FRONTEND_PORT", settings.frontend_port)
    if not settings.has_gateway:
        return [Wanted("BACKEND_PORT", settings.backend_port), frontend]
    backends = Wanted("BACKEND_PORT", settings.backend_port, len(settings.models))
    return [backends, Wanted("GATEWAY_PORT", settings.gateway_port), frontend]


def url(port: int) -> str:
    """Return the address of a service on this machine."""
    return f"http://{LOOPBACK}:{port}"


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def port_complaint(settings: RunSettings, environ: Mapping[str, str]) -> str:
    """Return which ports cannot be had, and what to run instead; nothing where all can.

    Args:
        settings: what was asked for.
        environ: the same as it was given.
    """
    wishes = wanted(settings)
    if complaint := _overlap(wishes):
        return complaint
    taken = [port for wish in wishes for port in wish if not is_free(port)]
    if not taken:
        return ""
    instead = command(environ, _instead(wishes, taken))
    if len(taken) == 1:
        return f"Port {taken[0]} is taken. Stop what uses it, or choose another: {instead}"
    listed = ", ".join(map(str, taken))
    return f"Ports {listed} are taken. Stop what uses them, or choose others: {instead}"


def _instead(wishes: list[Wanted], taken: Collection[int]) -> dict[str, str]:
    """Return free ports for the variables whose own are taken."""
    excluded = {port for wish in wishes for port in wish}
    found: dict[str, str] = {}
    for wish in wishes:
        if any(port in taken for port in wish):
            first = next_free(wish.first, excluded, wish.count)
            excluded.update(range(first, first + wish.count))
            found[wish.variable] = str(first)
    return found


def _overlap(wishes: list[Wanted]) -> str:
    """Return what is wrong with the wishes themselves, if anything."""
    wanted_by: dict[int, str] = {}
    for wish in wishes:
        for number, port in enumerate(wish):
            name = f"{wish.variable} + {number}" if number else wish.variable
            if port > HIGHEST:
                return f"{name} is {port}, but the highest port is {HIGHEST}: choose a lower one"
            if port in wanted_by:
                return f"{wanted_by[port]} and {name} are both {port}: choose two"
            wanted_by[port] = name
    return ""


def next_free(port: int, excluded: set[int], count: int = 1) -> int:
    """Return a free port, the next above ``port`` if there is one.

    Args:
        port: where to begin.
        excluded: ports that somebody else wants.
        count: how many in a row must be free.
    """
    last = HIGHEST + 1 - count
    for first in chain(range(port + 1, last + 1), range(1024, port)):
        if all(each not in excluded and is_free(each) for each in range(first, first + count)):
            return first
    raise OSError(f"this machine has no {count} free ports in a row")
