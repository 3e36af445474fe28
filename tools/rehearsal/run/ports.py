"""Ports on loopback: those that stay the same for good, and those that are free right now."""

import random
import socket

from tools.rehearsal.store import Store

KIND = "run-ports"
# Below the range from which Linux takes the ports of outgoing connections (32768 and up).
RANGE = range(20000, 32000)
ATTEMPTS = 200


class NoPortFree(Exception):
    """Nothing free was found; something else must be using the whole range."""


class Ports:
    """Hands out ports; one that it gave is not given again while it is in use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lent: set[int] = set()

    def kept(self, purpose: str) -> int:
        """Return the port of this purpose, the same one for as long as the folder lives."""
        with self._store.lock:
            document = self._store.get(KIND, purpose)
            if document is None:
                document = {"port": self.lend()}
                self._store.put(KIND, purpose, document)
            port: int = document["port"]
            return port

    def forget(self, purpose: str) -> None:
        """Give the port of this purpose back."""
        self._store.delete(KIND, purpose)

    def lend(self) -> int:
        """Return a port that nobody listens on and that was not lent to somebody else.

        Raises:
            NoPortFree: there is none.
        """
        with self._store.lock:
            taken = self._lent | self._all_kept()
            for _ in range(ATTEMPTS):
                port = random.choice(RANGE)  # noqa: S311  a free one, not a secret one
                if port not in taken and _is_free(port):
                    self._lent.add(port)
                    return port
        raise NoPortFree(f"no free port between {RANGE.start} and {RANGE.stop}")

    def take_back(self, port: int) -> None:
        """Say that whoever borrowed the port is done."""
        self._lent.discard(port)

    def mark_lent(self, port: int) -> None:
        """Say that a container from before the restart still uses the port."""
        self._lent.add(port)

    def _all_kept(self) -> set[int]:
        documents = (self._store.get(KIND, name) for name in self._store.names(KIND))
        return {document["port"] for document in documents if document}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers themselves do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
