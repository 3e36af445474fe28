"""Fixtures that several unit tests share."""

import socket
from collections.abc import Callable, Iterator

import pytest

Pair = tuple[socket.socket, socket.socket]
Pairs = Callable[[], Pair]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Return a function that makes pairs of connected sockets; no end waits for ever."""
    made: list[socket.socket] = []

    def pair() -> Pair:
        both = socket.socketpair()
        made.extend(both)
        for each in both:
            each.settimeout(10)
        return both

    yield pair
    for each in made:
        each.close()
