"""Connections to the hosts of pictures: ports are checked, and a fetch can end its own."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

import certifi
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, InvalidHeader, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from imgserve.errors import PictureHostFailed, PictureHostTimeout
from imgserve.pictures.address import AddressRules

# Connections kept open for the next fetch.
HOSTS: Final = 16
CONNECTIONS_PER_HOST: Final = 16


class Attempt:
    """One fetch: the time it has left and the sockets it uses."""

    def __init__(self, rules: AddressRules, timeout_s: float) -> None:
        self.rules = rules
        self.host = "The picture's host"  # the name that messages use
        self._timeout_s = timeout_s
        self._ends_at_s = time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._is_over = True
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def too_slow(self) -> PictureHostTimeout:
        """Return the error for a host that took too long."""
        return PictureHostTimeout(
            f"The picture's host took longer than {self._timeout_s:g} seconds: "
            "try again, or use a picture from another host."
        )

    def remaining_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            PictureHostTimeout: none are left.
        """
        remaining_s = self._ends_at_s - time.monotonic()
        if remaining_s <= 0:
            raise self.too_slow()
        return remaining_s

    def adopt(self, sock: socket.socket) -> None:
        """Remember a socket that this fetch is about to use.

        A duplicate is kept: TLS takes over the original, whose number may belong to another file
        by the time it would be shut down.

        Raises:
            PictureHostTimeout: the fetch is over already.
        """
        with self._lock:
            if self._is_over:
                raise self.too_slow()
            number = os.dup(sock.fileno())
            self._sockets.append(socket.socket(sock.family, sock.type, sock.proto, number))

    def cut_short(self) -> None:
        """Shut down every connection of this fetch, which ends whatever waits for one."""
        with self._lock:
            self._is_over = True
            for duplicate in self._sockets:
                with suppress(OSError):  # the host has closed it already
                    duplicate.shutdown(socket.SHUT_RDWR)


# The fetch that a connection works for: each fetch has its own thread, and so its own context.
current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")


class PictureConnection(HTTPConnection):
    """A connection to an address that AntiSSRF has checked."""

    def _new_conn(self) -> socket.socket:
        attempt = current_attempt.get()
        attempt.rules.check_port(self.host, self.port)
        # A second try has less time than the first.
        self.timeout = attempt.remaining_s()
        try:
            sock = super()._new_conn()
        except NewConnectionError as exc:  # in urllib3 2 a subclass of ConnectTimeoutError
            raise PictureHostFailed(
                "The picture's host cannot be reached: check that the address opens in a browser."
            ) from exc
        except ConnectTimeoutError as exc:
            raise attempt.too_slow() from exc
        try:
            attempt.adopt(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **options: bool,
    ) -> None:
        """Send a request, perhaps over a connection that an earlier fetch has used."""
        if self.sock is not None:
            current_attempt.get().adopt(self.sock)
        named = dict(headers or {})
        named["Host"] = self._host_header(named["Host"])
        super().request(method, url, body=body, headers=named, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Return the response with its body still unread."""
        sock = self.sock
        try:
            return super().getresponse()
        except InvalidHeader:  # urllib3 2.8 then forgets the response that it began
            os.close(sock.detach())
            raise

    def _host_header(self, host: str) -> str:
        """Return the header with what AntiSSRF leaves out: IPv6 brackets and an unusual port."""
        bracketed = f"[{host}]" if ":" in host else host
        return bracketed if self.port == self.default_port else f"{bracketed}:{self.port}"


class SecurePictureConnection(PictureConnection, HTTPSConnection):
    """The same over TLS."""


class PicturePool(HTTPConnectionPool):
    """Connections to one address and port."""

    ConnectionCls = PictureConnection


class SecurePicturePool(HTTPSConnectionPool):
    """Connections to one address, port and host name."""

    ConnectionCls = SecurePictureConnection


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the usual authorities; making one takes milliseconds."""
    context = create_urllib3_context()
    context.load_verify_locations(certifi.where())
    return context


def guarded_adapter(rules: AddressRules) -> HTTPAdapter:
    """Return the transport that enforces the rules; threads may share it."""
    session = rules.policy.get_antissrf_session()
    adapter: HTTPAdapter = session.get_adapter("https://")
    # Only a session, which is not used, would read proxies from the environment.
    adapter.init_poolmanager(HOSTS, CONNECTIONS_PER_HOST, ssl_context=tls_context())
    adapter.poolmanager.pool_classes_by_scheme = {"http": PicturePool, "https": SecurePicturePool}
    return adapter
