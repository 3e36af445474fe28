"""Fetching strangers' pictures, against real servers on loopback addresses."""

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgserve import HOMEPAGE, __version__, errors
from imgserve.log import TRACE_FIELDS
from imgserve.pictures.address import LIMIT_URL_CHARS
from imgserve.pictures.connection import LIMIT_CONNECT_S, Attempt, current_attempt
from imgserve.pictures.fetch import LIMIT_REDIRECTS, REDIRECTS, Fetcher
from tests.unit import picture_host
from tests.unit.picture_host import Answer, PictureHost, raw, redirect, reply, silence
from tests.unit.waiting import wait_until

LIMIT = 1000
LOOPBACK = "127.0.0.1/32"
PUBLIC = "93.184.215.14"  # an address of example.com; no test connects to it
PATIENCE_S = 20.0
IMPATIENCE_S = 0.5

Connect = Callable[..., socket.socket]
Tried = list[tuple[str, int]]  # addresses and ports


class Web:
    """What a fetcher meets: hosts, and in the resolver's and connections' place what a test says.

    Attributes:
        tried: where connections went, or would have gone, since they were led elsewhere.
    """

    def __init__(
        self, usual: Fetcher, stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.tried: Tried = []
        self._usual = usual
        self.patch = monkeypatch
        self._stack = stack

    def fetcher(self, *allowed: str, **more: Any) -> Fetcher:
        """Return a fetcher that may fetch from 127.0.0.1, or else from these addresses."""
        usual = {"limit_bytes": LIMIT, "timeout_s": PATIENCE_S}
        made = Fetcher(allowed_addresses=allowed or (LOOPBACK,), **usual | more)
        return self._stack.enter_context(contextlib.closing(made))

    def hasty(self) -> Fetcher:
        return self.fetcher(timeout_s=IMPATIENCE_S)

    def host(self, answer: Answer | None = None, **how: Any) -> PictureHost:
        return self._stack.enter_context(PictureHost(answer or reply(), **how))

    def fetch(self, url: str) -> bytes:
        """Fetch by a fetcher that is made once, to save its TLS context."""
        return self._usual.fetch(url)

    def fetch_from(self, answer: Answer) -> bytes:
        return self.fetch(self.host(answer).url())

    def resolve(self, look_up: Callable[..., Any]) -> None:
        self.patch.setattr(socket, "getaddrinfo", look_up)

    def name(self, name: str, *answers: list[str]) -> None:
        """Teach the resolver a host's name; an answer for each time it is asked."""
        left, before = list(answers), socket.getaddrinfo

        def resolve(host: Any, *rest: Any, **more: Any) -> Any:
            if host != name:
                return before(host, *rest, **more)
            found = left.pop(0) if len(left) > 1 else left[0]
            return [before(address, *rest, **more)[0] for address in found]

        self.resolve(resolve)

    def connect(self, connect: Connect) -> None:
        """Connect by this function, which is told an address with its port, and a time limit."""

        def noted(where: tuple[str, int], limit_s: float, **_: Any) -> socket.socket:
            self.tried.append(where)
            return connect(where, limit_s)

        self.patch.setattr("urllib3.util.connection.create_connection", noted)

    def lead_to(self, host: PictureHost) -> None:
        self.connect(lambda *_: socket.create_connection(("127.0.0.1", host.port)))

    def refuse(self, error: type[OSError] = ConnectionRefusedError) -> None:
        def fail(*_: Any) -> socket.socket:
            raise error

        self.connect(fail)


@pytest.fixture(scope="module")
def usual_fetcher() -> Iterator[Fetcher]:
    with contextlib.closing(
        Fetcher(limit_bytes=LIMIT, timeout_s=PATIENCE_S, allowed_addresses=[LOOPBACK])
    ) as fetcher:
        yield fetcher


@pytest.fixture(scope="module")
def guarded() -> Iterator[Fetcher]:
    """Return a fetcher for public addresses only, as it is in production."""
    with contextlib.closing(Fetcher(limit_bytes=LIMIT, timeout_s=PATIENCE_S)) as fetcher:
        yield fetcher


@pytest.fixture
def web(usual_fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with contextlib.ExitStack() as stack:
        yield Web(usual_fetcher, stack, monkeypatch)


@pytest.fixture
def tried(web: Web) -> Tried:
    """Refuse every connection, and return where they would have gone."""
    web.refuse()
    return web.tried


def no_fetch_is_running() -> bool:
    return all(thread.name != "fetch" for thread in threading.enumerate())


def echo(sock: socket.socket, request: bytes) -> bool:
    """Answer with the path that is asked for."""
    return reply(request.split()[1])(sock, request)


# What is asked and what comes back


def test_the_picture_comes_back_byte_for_byte(web: Web) -> None:
    data = bytes(range(256)) * 3
    assert web.fetch_from(reply(data)) == data


def test_the_whole_head_of_a_request_is_as_meant(web: Web) -> None:
    host = web.host()
    contact = "https://cats.example/about"
    web.fetcher(contact=contact).fetch(host.url("/a b/ü.jpg?size=1&x=%20#part"))
    assert host.requests[0].decode().split("\r\n") == [
        "GET /a%20b/%C3%BC.jpg?size=1&x=%20 HTTP/1.1",
        f"Host: 127.0.0.1:{host.port}",
        f"User-Agent: imgserve/{__version__} (+{contact})",
        "Accept: image/jpeg,image/png,image/webp,image/gif,image/bmp,image/avif,image/tiff,"
        "*/*;q=0.1",
        "Accept-Encoding: identity",
        "",
        "",
    ]
    web.fetch(host.url())
    assert f"\r\nUser-Agent: imgserve/{__version__} (+{HOMEPAGE})".encode() in host.requests[1]


def test_an_ipv6_host_is_asked_with_brackets(web: Web) -> None:
    host = web.host(address="::1")
    assert web.fetcher("::1/128").fetch(host.url()) == b"picture"
    assert f"Host: [::1]:{host.port}".encode() in host.requests[0]


def test_the_usual_port_is_not_named(web: Web) -> None:
    host = web.host()
    web.name("cats.example", [PUBLIC])
    web.lead_to(host)
    assert web.fetch("http://cats.example/cat.jpg") == b"picture"
    assert b"\r\nHost: cats.example\r\n" in host.requests[0]
    assert web.tried == [(PUBLIC, 80)]


def test_cookies_are_not_kept(web: Web) -> None:
    host = web.host(reply(b"picture", "200 OK", "Set-Cookie: a=b; Path=/"))
    for _ in range(2):
        web.fetch(host.url())
    assert b"cookie" not in host.requests[1].lower()


def test_proxies_named_by_the_environment_are_left_aside(web: Web) -> None:
    proxy = web.host(reply(b"proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        web.patch.setenv(name, proxy.origin)
    assert web.fetch_from(reply()) == b"picture"
    assert proxy.connections == 0


# Limits, from both sides


def chunked(body: bytes) -> Answer:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return raw(b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body))


def zipped(body: bytes) -> Answer:
    """Return an answer that is encoded unasked."""
    return reply(gzip.compress(body), "200 OK", "Content-Encoding: gzip")


@pytest.mark.parametrize("kind", [reply, partial(reply, length=False), chunked, zipped])
def test_a_picture_of_the_limit_passes_and_one_byte_more_is_refused(
    web: Web, kind: Callable[[bytes], Answer]
) -> None:
    assert web.fetch_from(kind(b"x" * LIMIT)) == b"x" * LIMIT
    with pytest.raises(
        errors.PictureTooLarge, match=r"has (1001 bytes; at most|more than) 1000 bytes"
    ):
        web.fetch_from(kind(b"x" * (LIMIT + 1)))


def announce(sock: socket.socket, request: bytes) -> bool:
    """Say that the body is too large, and send none of it."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
    return silence(sock, request)


@pytest.mark.parametrize(
    "answer", [announce, picture_host.endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100, pause_s=0)]
)
def test_a_length_over_the_limit_and_an_endless_body_are_cut(web: Web, answer: Answer) -> None:
    host = web.host(answer)
    with pytest.raises(errors.PictureTooLarge):
        web.fetch(host.url())
    assert host.was_cut.wait(PATIENCE_S)


def test_a_decompression_bomb_is_cut_at_the_limit(web: Web) -> None:
    host = web.host(zipped(bytes(50_000_000)))
    with pytest.raises(errors.PictureTooLarge):
        web.fetcher(limit_bytes=1_000_000).fetch(host.url())


def test_an_address_of_exactly_the_limit_passes(web: Web) -> None:
    url = web.host().url("/").ljust(LIMIT_URL_CHARS, "a")
    assert web.fetch(url) == b"picture"
    with pytest.raises(errors.InvalidUrl, match="longer than 8000 characters"):
        web.fetch(url + "a")


# What goes wrong at the host


NOT_FOR_PROGRAMS = "does not give its pictures to programs (it answered {}): save the picture and"
NOTHING_THERE = "There is nothing at this address (the picture's host answered {}): check it for"
UPLOAD = "The picture's host answered {}: save the picture and upload it."


@pytest.mark.parametrize(
    ("status", "named", "sentence"),
    [
        ("401 Who?", "401 Unauthorized", NOT_FOR_PROGRAMS),
        ("403 No", "403 Forbidden", NOT_FOR_PROGRAMS),
        ("406 No", "406 Not Acceptable", NOT_FOR_PROGRAMS),
        ("451 No", "451 Unavailable For Legal Reasons", NOT_FOR_PROGRAMS),
        ("404 Whatever", "404 Not Found", NOTHING_THERE),
        ("410 Whatever", "410 Gone", NOTHING_THERE),
        ("400 Bad", "400 Bad Request", UPLOAD),
        ("999 Request denied", "999", UPLOAD),
        ("304 Not Modified", "304 Not Modified", UPLOAD),
        ("300 Multiple Choices", "300 Multiple Choices", UPLOAD),
    ],
)
def test_a_final_answer_says_what_to_do(web: Web, status: str, named: str, sentence: str) -> None:
    host = web.host(reply(b"", status))
    with pytest.raises(errors.PictureHostRefused) as caught:
        web.fetch(host.url())
    assert sentence.format(named) in str(caught.value)
    assert len(host.requests) == 1


@pytest.mark.parametrize("status", ["500 Oh", "599 Oh"])
def test_a_failure_of_the_host_may_pass(web: Web, status: str) -> None:
    with pytest.raises(
        errors.PictureHostFailed, match="try again later, or use a picture"
    ) as caught:
        web.fetch_from(reply(b"", status))
    assert caught.type is errors.PictureHostFailed


@pytest.mark.parametrize("status", ["429 Slow down", "503 Busy"])
@pytest.mark.parametrize("after", [["Retry-After: 1"], ["Retry-After: soon"], []])
def test_a_busy_host_is_asked_again_when_it_says(web: Web, status: str, after: list[str]) -> None:
    began = time.monotonic()
    assert web.fetch_from(picture_host.in_turn(reply(b"", status, *after), reply())) == b"picture"
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("after", "shown"),
    [("40", 40), ("600", 600), ("601", 600), ("9" * 400, 600), ("DATE", 600)],
)
def test_a_host_that_is_busy_for_longer_says_until_when(web: Web, after: str, shown: int) -> None:
    later = formatdate(time.time() + 3000, usegmt=True)
    host = web.host(reply(b"", "429 No", f"Retry-After: {after.replace('DATE', later)}"))
    with pytest.raises(errors.PictureHostBusy) as caught:
        web.fetch(host.url())
    assert str(caught.value) == (
        "The picture's host is busy (it answered 429 Too Many Requests): "
        f"try again in {shown} seconds."
    )
    assert caught.value.retry_after_s == shown
    assert len(host.requests) == 1


def test_a_host_that_stays_busy_is_asked_twice(web: Web) -> None:
    host = web.host(reply(b"", "503 Busy"))
    with pytest.raises(errors.PictureHostBusy, match=r"try again in 1 second\."):
        web.fetch(host.url())
    assert len(host.requests) == 2


def test_a_dozen_pictures_of_a_host_that_allows_two_at_once_all_come(web: Web) -> None:
    inside = threading.Semaphore(2)

    def answer(sock: socket.socket, request: bytes) -> bool:
        if not inside.acquire(blocking=False):
            return reply(b"", "429 Slow down")(sock, request)
        time.sleep(0.05)
        inside.release()
        return echo(sock, request)

    host = web.host(answer)
    paths = [f"/{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda path: web.fetch(host.url(path)), paths))
    assert found == [path.encode() for path in paths]
    assert len(host.requests) == 12
    assert host.connections <= 2


def test_an_answer_that_is_not_read_gives_its_place_back(web: Web) -> None:
    host = web.host(picture_host.by_path({"/no": reply(b"x" * 99_000, "403 No"), "/yes": reply()}))
    for _ in range(3):
        with pytest.raises(errors.PictureHostRefused):
            web.fetch(host.url("/no"))
    assert web.fetch(host.url("/yes")) == b"picture"


def test_any_other_success_passes(web: Web) -> None:
    assert web.fetch_from(reply(b"picture", "299 Odd")) == b"picture"


def test_an_empty_body_is_the_hosts_failure(web: Web) -> None:
    with pytest.raises(errors.PictureHostFailed, match="without any data: try again later"):
        web.fetch_from(reply(b""))


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\xff\xfe" * 100,
        b"HTTP/1.1 abc OK\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nabc",
        OK + b"Content-Length: 5, 6\r\n\r\nabcde",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"X: y\r\n" * 200 + b"\r\nabc",
        OK + b"X: " + b"y" * 100_000 + b"\r\n\r\nabc",
    ],
    ids=lambda answer: repr(answer[:40]),
)
def test_an_answer_that_breaks_off_or_is_not_http_is_a_failure(web: Web, answer: bytes) -> None:
    with pytest.raises(
        errors.PictureHostFailed, match="broke off or did not answer in HTTP"
    ) as caught:
        web.fetch_from(raw(answer))
    assert caught.value.__cause__ is not None, "the log has nothing to say"


@pytest.mark.parametrize("failure", [ConnectionRefusedError, TimeoutError, OSError])
def test_addresses_are_tried_in_turn_and_each_family_too(web: Web, failure: type[OSError]) -> None:
    host, limits_s = web.host(), []

    def connect(_: object, limit_s: float) -> socket.socket:
        limits_s.append(limit_s)
        if len(limits_s) < 4:
            raise failure
        return socket.create_connection(("127.0.0.1", host.port))

    web.connect(connect)
    web.name("cats.example", ["127.0.0.2", "127.0.0.3", "127.0.0.1", "::1", "127.0.0.2"])
    assert web.fetcher("127.0.0.0/8", "::1").fetch("http://cats.example/") == b"picture"
    tried = [address for address, _ in web.tried]
    assert tried == ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]
    assert all(limit_s <= LIMIT_CONNECT_S for limit_s in limits_s[:3])
    assert LIMIT_CONNECT_S < limits_s[3] <= PATIENCE_S


def test_an_address_that_does_not_answer_leaves_time_for_the_next(web: Web) -> None:
    host = web.host()
    fetcher = web.fetcher("127.0.0.0/8", timeout_s=2)
    web.name("cats.example", ["127.0.0.2", "127.0.0.1"])
    with contextlib.ExitStack() as stack:
        full, *others = (stack.enter_context(socket.socket()) for _ in range(3))
        full.bind(("127.0.0.2", host.port))
        full.listen(0)  # so that its queue is full, and no connection is taken
        for sock in others:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.2", host.port))
        assert fetcher.fetch(f"http://cats.example:{host.port}/") == b"picture"


def test_a_name_that_is_not_found_is_named(web: Web) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    web.resolve(unknown)
    for typed in ("cats.example", "Cats.Example", "zürich.example"):  # shown as it was typed
        with pytest.raises(errors.PictureHostRefused) as caught:
            web.fetch(f"http://{typed}/cat.jpg")
        assert str(caught.value) == f"{typed} was not found: check the address for typing errors."


def test_a_machine_without_threads_to_spare_says_busy(web: Web) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    web.patch.setattr(threading.Thread, "start", fail)
    with pytest.raises(errors.Busy):
        web.fetch("http://cats.example/cat.jpg")


def test_the_fetch_belongs_to_the_requests_trace_and_keeps_its_own_to_itself(web: Web) -> None:
    seen: list[tuple[str, Any]] = []
    genuine = socket.getaddrinfo

    def resolve(*how: Any, **more: Any) -> Any:
        seen.append((threading.current_thread().name, TRACE_FIELDS.get()))
        return genuine(*how, **more)

    host = web.host()
    web.resolve(resolve)
    fields = {"logging.googleapis.com/trace": "abc"}
    token = TRACE_FIELDS.set(fields)
    try:
        web.fetch(host.url())
    finally:
        TRACE_FIELDS.reset(token)
    assert ("fetch", fields) in seen
    assert current_attempt.get(None) is None


# The deadline


SLOW = {
    "says nothing": silence,
    "drips its status line": picture_host.endless(b"HTTP", b"/"),
    "drips its headers": picture_host.endless(OK, b"X: y\r\n", 0.2),
    "drips one header": picture_host.endless(OK + b"X: ", b"y"),
    "drips its body": picture_host.endless(OK + b"Content-Length: 900\r\n\r\n", b"x", 0.05),
    "drips a body without length": picture_host.endless(OK + b"\r\n", b"x", 0.05),
    "sends 100 Continue for ever": picture_host.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_host_is_left_at_the_deadline(web: Web, how: str) -> None:
    host = web.host(SLOW[how])
    with pytest.raises(errors.PictureHostTimeout) as caught:
        web.hasty().fetch(host.url())
    assert str(caught.value) == (
        "The picture's host took longer than 0.5 seconds: "
        "try again, or use a picture from another host."
    )
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)


def test_the_deadline_covers_redirects_together(web: Web) -> None:
    def slow(sock: socket.socket, request: bytes) -> bool:
        time.sleep(IMPATIENCE_S * 0.6)
        return redirect("/again")(sock, request)

    host = web.host(slow)
    with pytest.raises(errors.PictureHostTimeout):
        web.hasty().fetch(host.url())
    wait_until(no_fetch_is_running)
    assert len(host.requests) <= 3


def test_the_deadline_covers_the_look_up_of_the_host(web: Web) -> None:
    host, found = web.host(), threading.Event()
    genuine = socket.getaddrinfo

    def slow(_: Any, *rest: Any, **more: Any) -> Any:
        found.wait(PATIENCE_S)
        return genuine("127.0.0.1", *rest, **more)

    web.resolve(slow)
    with pytest.raises(errors.PictureHostTimeout):
        web.hasty().fetch(f"http://cats.example:{host.port}/cat.jpg")
    found.set()
    wait_until(no_fetch_is_running)
    assert host.connections == 0


def test_the_deadline_covers_connecting(web: Web) -> None:
    web.refuse(TimeoutError)
    with pytest.raises(errors.PictureHostTimeout):
        web.fetch("http://127.0.0.1/cat.jpg")


def test_connecting_again_has_only_the_time_that_is_left(web: Web) -> None:
    def hang_up_late(sock: socket.socket, request: bytes) -> bool:
        time.sleep(IMPATIENCE_S)
        return False

    host = web.host(hang_up_late)
    given: list[float] = []

    def connect(_: object, limit_s: float) -> socket.socket:
        given.append(limit_s)
        return socket.create_connection(("127.0.0.1", host.port))

    web.connect(connect)
    with pytest.raises(errors.PictureHostFailed):
        web.fetch(host.url())
    first, second = given
    assert second <= first - IMPATIENCE_S


def test_the_deadline_covers_the_tls_handshake(web: Web) -> None:
    host = web.host(silence)
    with pytest.raises(errors.PictureHostTimeout):
        web.hasty().fetch(host.url().replace("http:", "https:"))
    assert host.was_cut.wait(PATIENCE_S)
    assert host.requests == []
    wait_until(no_fetch_is_running)


def test_a_connection_made_after_the_deadline_is_closed_at_once(web: Web) -> None:
    host = web.host(silence)
    late: list[socket.socket] = []

    def connect(*_: Any) -> socket.socket:
        time.sleep(IMPATIENCE_S * 2)
        late.append(socket.create_connection(("127.0.0.1", host.port)))
        return late[0]

    web.connect(connect)
    with pytest.raises(errors.PictureHostTimeout):
        web.hasty().fetch("http://127.0.0.1/")
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)
    assert late[0].fileno() == -1
    assert host.requests == []


def test_a_read_that_times_out_by_itself_is_the_hosts_slowness(web: Web) -> None:
    web.patch.setattr(Attempt, "remaining_s", lambda _: 0.2)
    with pytest.raises(errors.PictureHostTimeout):
        web.fetch_from(
            picture_host.endless(OK + b"Content-Length: 9\r\n\r\n", b"x", PATIENCE_S / 10)
        )


# Connections


def test_a_connection_is_kept_for_the_next_fetch(web: Web) -> None:
    host = web.host()
    for _ in range(5):
        web.fetch(host.url())
    assert host.connections == 1


def test_a_kept_connection_can_be_cut_at_the_deadline(web: Web) -> None:
    host, hasty = (
        web.host(picture_host.by_path({"/": reply(), "/slow": SLOW["drips its body"]})),
        web.hasty(),
    )
    hasty.fetch(host.url("/"))
    with pytest.raises(errors.PictureHostTimeout):
        hasty.fetch(host.url("/slow"))
    assert host.was_cut.wait(PATIENCE_S)
    assert host.connections == 1
    assert hasty.fetch(host.url("/")) == b"picture"


def test_a_kept_connection_that_the_host_closes_is_replaced(web: Web) -> None:
    # The second request on a connection finds it closing.
    host = web.host(lambda *asked: len(host.requests) != 2 and reply()(*asked))
    assert web.fetch(host.url()) == web.fetch(host.url()) == b"picture"
    assert host.connections == 2


# Redirects


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_followed(web: Web, status: int) -> None:
    other = web.host()
    redirected = redirect(other.url("/there"), f"{status} Elsewhere")
    assert web.fetch_from(redirected) == b"picture"
    assert other.requests[0].startswith(b"GET /there ")


@pytest.mark.parametrize("location", ["/b", "b", "?b", "//127.0.0.1:PORT/b", "/b#part", "/ü"])
def test_a_redirect_may_be_relative_or_in_utf_8(web: Web, location: str) -> None:
    host = web.host()
    host.answer = picture_host.in_turn(redirect(location.replace("PORT", str(host.port))), reply())
    assert web.fetch(host.url("/a")) == b"picture"


@pytest.mark.parametrize(
    "location",
    [r"\\127.0.0.1:PORT\b?c\d", r"/\127.0.0.1:PORT/b?c\d", r"http:\\127.0.0.1:PORT\b?c\d"],
)
def test_a_redirect_with_backslashes_is_read_as_browsers_do(web: Web, location: str) -> None:
    other = web.host()
    assert web.fetch_from(redirect(location.replace("PORT", str(other.port)))) == b"picture"
    assert other.requests[0].startswith(b"GET /b?c%5Cd ")


@pytest.mark.parametrize("length", [LIMIT_REDIRECTS, LIMIT_REDIRECTS + 1])
def test_ten_redirects_are_followed_and_one_more_is_too_many(web: Web, length: int) -> None:
    steps = {f"/{number}": redirect(f"/{number + 1}") for number in range(length)}
    host = web.host(picture_host.by_path({**steps, f"/{length}": reply()}))
    if length == LIMIT_REDIRECTS:
        assert web.fetch(host.url("/0")) == b"picture"
    else:
        with pytest.raises(errors.PictureHostFailed, match="more than 10 times: save the picture"):
            web.fetch(host.url("/0"))
    assert len(host.requests) == LIMIT_REDIRECTS + 1


def test_a_host_that_sends_back_with_a_cookie_wants_cookies(web: Web) -> None:
    host = web.host(reply(b"", "302 Found", "Location: /a", "Set-Cookie: a=b"))
    with pytest.raises(
        errors.PictureHostRefused, match="wants to set cookies, which are never kept"
    ):
        web.fetch(host.url("/a"))
    assert len(host.requests) == 1


def test_a_cookie_on_the_way_to_elsewhere_does_not_matter(web: Web) -> None:
    elsewhere = reply(b"", "302 Found", "Location: /b", "Set-Cookie: a=b")
    host = web.host(picture_host.by_path({"/a": elsewhere, "/b": reply()}))
    assert web.fetch(host.url("/a")) == b"picture"


NO_WEB_ADDRESS = r"""
ftp://127.0.0.1/a file:///etc/passwd data:image/png;base64,AAAA javascript:alert(1) http://
http://[::1 http://user:word@127.0.0.1/ http://127.0.0.1:99999/ http://%zz/
""".split()  # noqa: SIM905 - as a list it takes a line for each


@pytest.mark.parametrize("location", ["", "http://\xff\xfe/", *NO_WEB_ADDRESS])
def test_a_redirect_to_no_web_address_is_the_hosts_failure(web: Web, location: str) -> None:
    with pytest.raises(errors.HttpError) as caught:
        web.fetch_from(redirect(location))
    assert caught.value.status in {400, 502}


@pytest.mark.parametrize(
    "location",
    [
        *("http://10.0.0.1/", "http://169.254.169.254/", "http://127.0.0.2/", "//[::1]/"),
        *(r"\\10.0.0.1\x", r"/\10.0.0.1/x", r"http:\\10.0.0.1\x"),
    ],
)
def test_a_redirect_to_a_private_address_is_refused_unnamed(web: Web, location: str) -> None:
    host = web.host(redirect(location))
    web.lead_to(host)
    with pytest.raises(errors.AddressNotAllowed) as caught:
        web.fetch(host.url())
    assert str(caught.value).startswith("The host that the address redirects to has no public")
    assert web.tried == [("127.0.0.1", host.port)]


def test_a_redirect_to_another_port_is_refused(web: Web) -> None:
    host = web.host(redirect("http://cats.example:8080/"))
    web.name("cats.example", [PUBLIC])
    web.lead_to(host)
    with pytest.raises(errors.InvalidUrl, match="redirects to port 8080"):
        web.fetch(host.url())
    assert web.tried == [("127.0.0.1", host.port)]


def test_the_body_of_a_redirect_is_not_read(web: Web) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    host = web.host(
        picture_host.by_path({"/a": picture_host.endless(head, b"x" * 65536, 0), "/b": reply()})
    )
    assert web.fetch(host.url("/a")) == b"picture"
    assert host.was_cut.wait(PATIENCE_S)


# Addresses


NOT_PUBLIC = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0 0.0.0.0
%31%32%37.0.0.1 localhost 127.255.255.254 １２７.０.０.１ 127。0。0。1 ①②⑦.⓪.⓪.①
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255
169.254.169.254 0xA9FEA9FE 2852039166 169.254.1.1 100.100.100.200 192.0.0.192 168.63.129.16
192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255
[::] [::1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::7f00:1] [::a00:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[::ffff:0:7f00:1] [::ffff:0:127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1]
[64:ff9b:1::1.1.1.1] [64:ff9b::1:0:0] [64:ff9b:1::a00:1]
[2002:7f00:1::] [2001:0:7f00:1::] [2001:db8::1] [100::1]
[fc00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fe80::1%25eth0] [::1%25lo] [fec0::1] [feff::1]
[ff02::1] [3fff::1] [5f00::1]
[::2] [1::] [1::1] [::fffe:0:1] [::fffe:ffff:ffff] [::1:0:0:0]
[1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]
[4000::] [4000::1] [6000::1] [7fff:ffff::1] [8000::1] [a000::1] [c000::1] [e000::1] [f000::1]
""".split()  # noqa: SIM905 - as a list it takes a line for each


@pytest.mark.parametrize(
    "address", [*(f"http://{host}" for host in NOT_PUBLIC), "https://127.0.0.1", "https://[::1]"]
)
def test_an_address_that_is_not_public_is_refused_however_it_is_spelt(
    guarded: Fetcher, tried: Tried, address: str
) -> None:
    with pytest.raises(
        (errors.AddressNotAllowed, errors.InvalidUrl, errors.PictureHostRefused)
    ) as caught:
        guarded.fetch(f"{address}/cat.jpg")
    assert tried == []
    assert caught.type is errors.AddressNotAllowed or not address.isascii() or "%25" in address


PUBLIC_ADDRESSES = r"""
1.1.1.1 [::ffff:1.1.1.1] [2606:4700::1111] [2000::] [64:ff9b::1.1.1.1]
[3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]
""".split()  # noqa: SIM905 - as a list it takes a line for each


@pytest.mark.parametrize("host", PUBLIC_ADDRESSES)
def test_a_public_address_is_connected_to(guarded: Fetcher, tried: Tried, host: str) -> None:
    with pytest.raises(errors.PictureHostFailed, match="cannot be reached"):
        guarded.fetch(f"https://{host}/")
    assert len(tried) == 1


@pytest.mark.parametrize(
    "answers", [["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC, "::ffff:10.0.0.1"]]
)
def test_a_name_is_refused_if_one_of_its_addresses_is_not_public(
    guarded: Fetcher, web: Web, tried: Tried, answers: list[str]
) -> None:
    web.name("cats.example", answers)
    with pytest.raises(errors.AddressNotAllowed) as caught:
        guarded.fetch("http://cats.example/")
    assert str(caught.value) == (
        "cats.example has no public address: "
        "use a picture that anyone on the internet can open, or upload it."
    )
    assert tried == []


def test_a_name_that_changes_its_address_after_the_check_is_not_asked_again(
    guarded: Fetcher, web: Web, tried: Tried
) -> None:
    web.name("cats.example", [PUBLIC], ["127.0.0.1"])
    with pytest.raises(errors.PictureHostFailed):
        guarded.fetch("http://cats.example/")
    assert tried == [(PUBLIC, 80)]
    with pytest.raises(errors.AddressNotAllowed):
        guarded.fetch("http://cats.example/")


@pytest.mark.parametrize(
    ("allowed", "passes", "fails"),
    [
        ("127.0.0.1/32", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.0/31", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:127.0.0.2]"),
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("::1/128", "[::1]", "[::2]"),
        ("fd00::/64", "[fd00::1]", "[fd00:0:0:1::1]"),
        ("::/0", "[fd00::1]", "[::1"),
        ("4000::/3", "[4000::1]", "[6000::1]"),
        ("1::/16", "[1::1]", "[2::1]"),
    ],
)
def test_allowed_addresses_and_only_they_may_be_private_and_have_any_port(
    web: Web, tried: Tried, allowed: str, passes: str, fails: str
) -> None:
    fetcher = web.fetcher(allowed)
    with pytest.raises(errors.PictureHostFailed, match="cannot be reached"):
        fetcher.fetch(f"http://{passes}:8080/")
    assert [port for _, port in tried] == [8080]
    with pytest.raises((errors.AddressNotAllowed, errors.InvalidUrl)):
        fetcher.fetch(f"http://{fails}:8080/")
    assert len(tried) == 1


@pytest.mark.parametrize("port", [1, 22, 79, 81, 442, 444, 8080, 65535])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_only_the_usual_ports_of_a_public_address_are_connected_to(
    web: Web, tried: Tried, scheme: str, port: int
) -> None:
    web.name("cats.example", [PUBLIC])
    for usual in ("", ":80", ":443"):
        with pytest.raises(errors.PictureHostFailed, match="cannot be reached"):
            web.fetch(f"{scheme}://cats.example{usual}/")
    assert {port for _, port in tried} == {80, 443}
    tried.clear()
    with pytest.raises(
        errors.InvalidUrl, match=f"port {port}: pictures are fetched from ports 80 and"
    ):
        web.fetch(f"{scheme}://cats.example:{port}/")
    assert tried == []


# The form of the address


MALFORMED = r"""
cats.example/cat.jpg //cats.example/cat.jpg ftp://cats.example/cat.jpg file:///etc/passwd
data:image/png;base64,AAAA http:/cats.example/ http:cats.example http:// http:///cat.jpg http://:80/
http://cats.example:port/ http://cats.example:-1/ http://cats.example:65536/ http://[::1/
http://[cats.example]/ http://*.example/ http://.example/ http://cats..example/
""".split()  # noqa: SIM905 - as a list it takes a line for each
MALFORMED += ["", f"http://{'a' * 64}.example/", "http://\ud800.example/", "http://cats.example\0/"]
MALFORMED += ["http://cats .example/"]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_address_is_refused(web: Web, tried: Tried, url: str) -> None:
    with pytest.raises(errors.InvalidUrl):
        web.fetch(url)
    assert tried == []


PATHS = [r"C:\My Pictures\cat.jpg", "c:/cats/cat.jpg", r"\\server\share\cat.jpg", r"\cats\cat.jpg"]
PATHS += ["/home/cat.jpg", "./cat.jpg", r"..\cat.jpg", "~/cat.jpg", "file:///C:/my cat.jpg"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("blob:https://cats.example/1-2", "works only inside the browser that made it: save"),
        ("file:///home/cat.jpg", "of a file on your own device: upload the file instead"),
        *((path, "of a file on your own device") for path in PATHS),
    ],
)
def test_what_is_no_web_address_is_named(web: Web, url: str, sentence: str) -> None:
    with pytest.raises(errors.InvalidUrl, match=sentence):
        web.fetch(url)


@pytest.mark.parametrize(
    ("spelling", "sent"),
    [
        (" \n{}/\t ", b"/"),  # white space and what nobody sees is left aside at the edges
        ("\u200b{}/\ufeff", b"/"),
        ("\x00{}/\x1f", b"/"),
        ("{}/\u2060 \n", b"/"),
        ("\xa0{}/", b"/"),
        ("{}/ca\n t\ts.j\rpg", b"/ca%20ts.jpg"),
        ("{}\\cats\\cat.jpg?a\\b", b"/cats/cat.jpg?a%5Cb"),
    ],
    ids=ascii,
)
def test_an_address_is_read_as_browsers_do(web: Web, spelling: str, sent: bytes) -> None:
    host = web.host()
    assert web.fetch(spelling.format(host.origin)) == b"picture"
    assert host.requests[0].split()[1] == sent


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
@pytest.mark.parametrize("who", ["user", "user:word", ":word", "user:", "1.1.1.1:80", "%40"])
def test_credentials_are_refused(web: Web, tried: Tried, scheme: str, who: str) -> None:
    with pytest.raises(errors.InvalidUrl, match="user name or password"):
        web.fetch(f"{scheme}://{who}@127.0.0.1/cat.jpg")
    assert tried == []


@pytest.mark.parametrize("rest", ["\\@10.0.0.1/", "#@10.0.0.1/", "?@10.1/"])
def test_an_ambiguous_address_goes_where_the_check_went(web: Web, tried: Tried, rest: str) -> None:
    with pytest.raises(errors.PictureHostFailed, match="cannot be reached"):
        web.fetch(f"http://127.0.0.1{rest}")
    assert tried == [("127.0.0.1", 80)]


ADDRESS_LIKE = st.one_of(
    st.text(),
    st.builds("http://{}".format, st.text()),
    st.builds(
        "https://{}/{}".format, st.text(alphabet="0123456789abcdefx.:[]%@\\/#?é。-"), st.text()
    ),
)


@settings(deadline=None)
@given(ADDRESS_LIKE)
@example("http://[v1.a]/")
@example("http://[::1%]/")
def test_any_text_at_all_gives_a_deliberate_error(guarded: Fetcher, text: str) -> None:
    def unknown(host: Any, *_: Any, **__: Any) -> Any:
        if isinstance(host, str):
            host.encode("idna")  # as the genuine one does
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(errors.HttpError):
            guarded.fetch(text)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for cats.example, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cats.example")])
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cats.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return file


@pytest.fixture
def secure(certificate: Path, web: Web) -> PictureHost:
    """Return a host that speaks TLS, under two names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name in ("cats.example", "dogs.example"):
        web.name(name, ["127.0.0.1"])
    return web.host(tls=context)


def test_a_self_signed_certificate_is_refused(web: Web, secure: PictureHost) -> None:
    with pytest.raises(
        errors.PictureHostRefused, match="is signed by nobody but the host itself: save"
    ):
        web.fetch(f"https://cats.example:{secure.port}/")
    assert secure.requests == []


def test_a_trusted_certificate_passes_for_its_own_name_only(
    web: Web, certificate: Path, secure: PictureHost
) -> None:
    web.patch.setattr(certifi, "where", lambda: str(certificate))
    fetcher = web.fetcher()
    for _ in range(2):
        assert fetcher.fetch(f"https://cats.example:{secure.port}/") == b"picture"
    assert secure.connections == 1
    assert f"\r\nHost: cats.example:{secure.port}\r\n".encode() in secure.requests[0]
    for host, other in (("dogs.example", "name"), ("127.0.0.1", "address")):
        with pytest.raises(
            errors.PictureHostRefused, match=f"its certificate belongs to another {other}"
        ):
            fetcher.fetch(f"https://{host}:{secure.port}/")


def test_authorities_of_the_operators_own_count_beside_the_usual_ones(
    web: Web, certificate: Path, secure: PictureHost
) -> None:
    fetcher = web.fetcher(certificates=certificate)
    assert fetcher.fetch(f"https://cats.example:{secure.port}/") == b"picture"


def test_a_host_without_tls_is_the_hosts_failure(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.recv(65536)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(greet)
            with pytest.raises(
                errors.PictureHostFailed, match="it does not answer in TLS as it should"
            ):
                web.fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/")
