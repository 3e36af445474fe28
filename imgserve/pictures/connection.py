"""Connections to the hosts of pictures: only to addresses that were checked, two a host at once."""

import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import certifi
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import EmptyPoolError, InvalidHeader, MaxRetryError, SSLError
from urllib3.exceptions import TimeoutError as HostTimeout
from urllib3.util import connection
from urllib3.util.ssl_ import create_urllib3_context

from imgserve.errors import HttpError, PictureHostFailed, PictureHostRefused, PictureHostTimeout
from imgserve.pictures.address import Network, addresses_of

HOSTS: Final = 128  # whose connections are kept for the next fetch
# More at once and hosts begin to refuse: Wikimedia asks for fewer than three.
CONNECTIONS_PER_HOST: Final = 2
LIMIT_CONNECT_S: Final = 2.0  # for an address, before the next one is tried
# What OpenSSL finds wrong with a certificate (openssl/x509_vfy.h).
CERTIFICATE_FAULTS: Final = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by nobody but the host itself",
    19: "is signed by an authority of the host's own",
    20: "is signed by an unknown authority, or the host does not send the whole chain",
    21: "is signed by an unknown authority, or the host does not send the whole chain",
    23: "was revoked",
    62: "belongs to another name",
    64: "belongs to another address",
}
ANOTHER: Final = "try again later, or use a picture from another host."
UPLOAD: Final = "save the picture and upload it."


@dataclass
class Attempt:
    """One fetch, and the time it has left."""

    allowed: Sequence[Network]  # that need not be public
    timeout_s: float
    hold: Callable[[int], None]  # is told of each piece's size
    host: str = "The picture's host"  # the name that messages use
    began_s: float = field(default_factory=time.monotonic)

    def too_slow(self) -> PictureHostTimeout:
        return PictureHostTimeout(
            f"The picture's host took longer than {self.timeout_s:g} seconds: "
            "try again, or use a picture from another host."
        )

    def remaining_s(self) -> float:
        remaining_s = self.began_s + self.timeout_s - time.monotonic()
        if remaining_s <= 0:
            raise self.too_slow()
        return remaining_s

    def connect(self, host: str, port: int, socket_options: Any) -> socket.socket:
        """Return a connection to the first address of a host that takes one.

        HttpError where the host is not allowed, not found or cannot be reached, or no time is left.
        """
        failure: OSError | None = None
        addresses = addresses_of(host, port, self.allowed, self.host)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            limit_s = self.remaining_s()
            if left > 1:
                limit_s = min(LIMIT_CONNECT_S, limit_s / left)
            try:
                where = (str(address), port)
                return connection.create_connection(where, limit_s, socket_options=socket_options)
            except OSError as exc:
                failure = exc
        if isinstance(failure, TimeoutError):
            raise self.too_slow() from failure
        raise PictureHostFailed(f"{self.host} cannot be reached: {ANOTHER}") from failure


# The fetch that a connection works for: each fetch has its own thread, and so its own context.
current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")


class PictureSocket(socket.socket):
    """Waits for a host, each time it reads, only as long as the fetch at hand has left."""

    def recv_into(self, *where: Any) -> int:
        self.settimeout(current_attempt.get().remaining_s())
        return super().recv_into(*where)


class SecurePictureSocket(PictureSocket, ssl.SSLSocket):
    """The same over TLS."""


class PictureConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        attempt = current_attempt.get()
        with attempt.connect(self._dns_host, self.port, self.socket_options) as made:
            limit_s = attempt.remaining_s()
            sock = PictureSocket(made.family, made.type, made.proto, made.detach())
        sock.settimeout(limit_s)
        return sock

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        sock = self.sock
        try:
            return super().getresponse()
        except InvalidHeader:  # urllib3 2.8 then forgets the response that it began
            os.close(sock.detach())
            raise


class SecurePictureConnection(PictureConnection, HTTPSConnection):
    """The same over TLS."""


class PicturePool(HTTPConnectionPool):
    ConnectionCls = PictureConnection


class SecurePicturePool(HTTPSConnectionPool):
    ConnectionCls = SecurePictureConnection


def picture_hosts(certificates: Path | None = None) -> PoolManager:
    """Return the connections to all hosts; threads may share it. Proxies are left aside.

    ``certificates`` are authorities to trust beside the usual ones.
    """
    context: ssl.SSLContext = create_urllib3_context()
    context.sslsocket_class = SecurePictureSocket
    context.load_verify_locations(certifi.where())
    if certificates:
        context.load_verify_locations(certificates)
    manager = PoolManager(HOSTS, maxsize=CONNECTIONS_PER_HOST, block=True, ssl_context=context)
    manager.pool_classes_by_scheme = {"http": PicturePool, "https": SecurePicturePool}
    return manager


def translated(error: Exception, attempt: Attempt) -> HttpError:
    """Return the error that the caller is told, with its cause kept for the log."""
    reason = error.reason if isinstance(error, MaxRetryError) else error
    match reason:
        case HttpError():
            return reason
        case HostTimeout() | EmptyPoolError():
            told: HttpError = attempt.too_slow()
        case SSLError():
            fault, cause = "it does not answer in TLS as it should", next(iter(reason.args), None)
            if isinstance(cause, ssl.SSLCertVerificationError):
                found = CERTIFICATE_FAULTS.get(cause.verify_code, "cannot be verified")
                fault = f"its certificate {found}"
            told = PictureHostRefused(
                "No secure connection (TLS) to the picture's host can be made, because "
                f"{fault}: {UPLOAD}"
            )
        case _:
            told = PictureHostFailed(
                f"The picture's host broke off or did not answer in HTTP: {ANOTHER}"
            )
    told.__cause__ = error
    return told
