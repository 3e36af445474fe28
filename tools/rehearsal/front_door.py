"""The addresses of services: who may come in, and which container answers.

Each service and each tag has a port of its own on loopback. A connection carries one request, so
that a change of traffic is met by the next request; its bytes are passed on as they are, so that
uploads, streams and WebSockets need nothing more.
"""

import contextlib
import http.client
import io
import logging
import select
import socket
import socketserver
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

LOG = logging.getLogger(__name__)

HOST = "127.0.0.1"
HEAD_LIMIT_BYTES = 65_536
# https://cloud.google.com/run/quotas#request_limits, for HTTP/1
BODY_LIMIT_BYTES = 32 * 2**20
LONGEST_S = 3600.0  # https://cloud.google.com/run/docs/configuring/request-timeout
CONNECT_S = 10.0
LINGER_S = 2.0
POLL_S = 0.05
REASONS = {
    401: "Unauthorized: the token is not valid for this service.",
    403: "Forbidden: the caller may not call this service.",
    404: "Not Found: Google's front end keeps this path for itself.",
    413: "Content Too Large: a request has at most 32 MiB.",
    503: "Service Unavailable: no container answers for this service.",
}


class FrontDoor:
    """The addresses of all services.

    Args:
        entry_status: returns 200, 401 or 403 for a service and a caller's Authorization.
    """

    def __init__(self, entry_status: Callable[[str, str], int]) -> None:
        self.entry_status = entry_status
        self._lock = threading.Lock()
        self._listeners: dict[tuple[str, str], _Listener] = {}
        self._under_way: Counter[int] = Counter()

    def url(self, service: str, tag: str = "") -> str:
        """Return the address of a service or of one of its tags, which stays the same."""
        with self._lock:
            if (service, tag) not in self._listeners:
                listener = self._listeners[service, tag] = _Listener(self, service)
                threading.Thread(target=listener.serve_forever, daemon=True).start()
            return f"http://{HOST}:{self._listeners[service, tag].server_address[1]}"

    def lead(self, service: str, ports: Mapping[str, int]) -> None:
        """Send requests to the containers that listen at these ports, by tag ("" for none)."""
        for tag in ports:
            self.url(service, tag)
        with self._lock:
            for (name, tag), listener in self._listeners.items():
                if name == service:
                    listener.port = ports.get(tag)

    def drain(self, port: int, limit_s: float) -> None:
        """Wait until a container has answered all that was sent to it."""
        end = time.monotonic() + limit_s
        while self._under_way[port] and time.monotonic() < end:
            time.sleep(POLL_S)

    def close(self, service: str = "") -> None:
        """Stop answering for a service, or for all of them."""
        with self._lock:
            keys = [key for key in self._listeners if service in {"", key[0]}]
            closed = [self._listeners.pop(key) for key in keys]
        for listener in closed:
            listener.shutdown()
            listener.server_close()

    @contextlib.contextmanager
    def container(self, listener: "_Listener") -> Iterator[socket.socket]:
        """Connect to the container that a listener leads to.

        Raises:
            OSError: there is none, or it does not answer.
        """
        with self._lock:
            if listener.port is None:
                raise ConnectionRefusedError("there is no container")
            port = listener.port
            self._under_way[port] += 1
        try:
            with socket.create_connection((HOST, port), CONNECT_S) as connection:
                connection.settimeout(LONGEST_S)
                yield connection
        finally:
            with self._lock:
                self._under_way[port] -= 1


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, door: FrontDoor, service: str) -> None:
        self.door, self.service = door, service
        self.port: int | None = None
        super().__init__((HOST, 0), _Connection)

    def handle_error(self, *_: object) -> None:
        """Report a fault of ours; a caller who hangs up is none."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            LOG.error("the front door of %s", self.service, exc_info=error)


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(LONGEST_S)
        data = b""
        while b"\r\n\r\n" not in data and len(data) < HEAD_LIMIT_BYTES:
            if not (more := self.request.recv(HEAD_LIMIT_BYTES)):
                return
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        line, _, lines = head.partition(b"\r\n")
        headers = http.client.parse_headers(io.BytesIO(lines + b"\r\n\r\n"))
        if status := self._refusal(line.split(b" ")[1].decode("ascii", "replace"), headers):
            self._answer(status)
            return
        try:
            with self.server.door.container(self.server) as container:
                container.sendall(line + b"\r\n" + self._passed_on(headers) + b"\r\n" + rest)
                answered = _pass_on(self.request, container)
        except OSError:
            answered = False
        if not answered:
            self._answer(503)

    def _refusal(self, path: str, headers: http.client.HTTPMessage) -> int:
        """Return the status of a request that does not reach the container, else 0."""
        bare = path.partition("?")[0]
        # https://cloud.google.com/run/docs/known-issues#ah
        if bare.startswith("/_ah/") or bare in {"/eventlog", "/healthz"}:
            return 404
        if int(headers.get("Content-Length", "0")) > BODY_LIMIT_BYTES:
            return 413
        authorization = headers.get("Authorization", "")
        status = self.server.door.entry_status(self.server.service, authorization)
        return status if status in REASONS else 0

    def _passed_on(self, headers: http.client.HTTPMessage) -> bytes:
        """Return the headers that the container sees."""
        if "Upgrade" not in headers:
            del headers["Connection"]
            headers["Connection"] = "close"
        caller = [*headers.get_all("X-Forwarded-For", []), self.client_address[0]]
        del headers["X-Forwarded-For"], headers["X-Forwarded-Proto"]
        headers["X-Forwarded-For"] = ", ".join(caller)
        headers["X-Forwarded-Proto"] = "http"
        if "X-Cloud-Trace-Context" not in headers:
            headers["X-Cloud-Trace-Context"] = f"{uuid.uuid4().hex}/1"
        return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")

    def _answer(self, status: int) -> None:
        reason, _, text = REASONS[status].partition(": ")
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nConnection: close"
        content = f"Error: {reason}: {text}\n"
        with contextlib.suppress(OSError):
            whole = f"{head}\r\nContent-Length: {len(content)}\r\n\r\n{content}"
            self.request.sendall(whole.encode())
            self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(LINGER_S)  # what is still sent would reset the connection
            while self.request.recv(HEAD_LIMIT_BYTES):
                pass


def _pass_on(caller: socket.socket, container: socket.socket) -> bool:
    """Copy bytes both ways until the container is done; return whether it said anything."""
    answered, open_ends = False, [caller, container]
    while True:
        readable, _, _ = select.select(open_ends, [], [], LONGEST_S)
        if not readable:
            return answered
        for end in readable:
            data = end.recv(HEAD_LIMIT_BYTES)
            if end is container and not data:
                return answered
            if not data:
                open_ends.remove(caller)
                container.shutdown(socket.SHUT_WR)
            else:
                (container if end is caller else caller).sendall(data)
                answered = answered or end is container
