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
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgserve import __version__
from imgserve.errors import (
    AddressNotAllowed,
    Busy,
    HttpError,
    InvalidUrl,
    PictureHostBusy,
    PictureHostFailed,
    PictureHostRefused,
    PictureHostTimeout,
    PictureTooLarge,
)
from imgserve.log import TRACE_FIELDS
from imgserve.pictures.address import LIMIT_URL_CHARS, AddressRules
from imgserve.pictures.connection import LIMIT_CONNECT_S, Attempt, current_attempt
from imgserve.pictures.fetch import LIMIT_REDIRECTS, REDIRECTS, Fetcher
from tests.unit.picture_host import (
    Answer,
    PictureHost,
    by_path,
    endless,
    raw,
    redirect,
    reply,
    silence,
)
from tests.unit.waiting import wait_until

LIMIT = 1000
LOOPBACK = "127.0.0.1/32"
PUBLIC = "93.184.215.14"  # an address of example.com; no test connects to it
PATIENCE_S = 20.0
IMPATIENCE_S = 0.5
CONNECT = "urllib3.util.connection.create_connection"

Names = Callable[..., None]
Made = Callable[..., Fetcher]
Hosts = Callable[..., PictureHost]
Tried = list[tuple[str, int]]  # addresses and ports


@pytest.fixture
def made() -> Iterator[Made]:
    """Return a maker of fetchers that may fetch from 127.0.0.1."""
    with contextlib.ExitStack() as stack:

        def make(*allowed: str, timeout_s: float = PATIENCE_S, limit: int = LIMIT) -> Fetcher:
            fetcher = Fetcher(
                limit_bytes=limit, timeout_s=timeout_s, allowed_addresses=allowed or (LOOPBACK,)
            )
            return stack.enter_context(contextlib.closing(fetcher))

        yield make


@pytest.fixture(scope="module")
def fetcher() -> Iterator[Fetcher]:
    """Return a fetcher that may fetch from 127.0.0.1; one for all, to save its TLS context."""
    with contextlib.closing(
        Fetcher(limit_bytes=LIMIT, timeout_s=PATIENCE_S, allowed_addresses=[LOOPBACK])
    ) as fetcher:
        yield fetcher


@pytest.fixture
def hasty(made: Made) -> Fetcher:
    return made(timeout_s=IMPATIENCE_S)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Fetcher]:
    """Return a fetcher for public addresses only, as it is in production."""
    fetcher = Fetcher(limit_bytes=LIMIT, timeout_s=PATIENCE_S)
    with contextlib.closing(fetcher):
        yield fetcher


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Return a maker of servers."""
    with contextlib.ExitStack() as stack:
        yield lambda answer, **how: stack.enter_context(PictureHost(answer, **how))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return what teaches the resolver host names; an answer for each time it is asked."""
    genuine = socket.getaddrinfo

    def teach(name: str, *answers: list[str]) -> None:
        left = list(answers)
        before = socket.getaddrinfo

        def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host != name:
                return before(host, port, *rest, **more)
            found = left.pop(0) if len(left) > 1 else left[0]
            return [genuine(address, 80, *rest, **more)[0] for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return teach


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Refuse every connection, and return where they would have gone."""
    tried: Tried = []

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(CONNECT, refuse)
    return tried


def detoured(monkeypatch: pytest.MonkeyPatch, host: PictureHost) -> Tried:
    """Lead every connection to this host, and return where they were meant to go."""
    meant: Tried = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        meant.append(address)
        return socket.create_connection(("127.0.0.1", host.port))

    monkeypatch.setattr(CONNECT, connect)
    return meant


def no_fetch_is_running() -> bool:
    return all(thread.name != "fetch" for thread in threading.enumerate())


# What is asked and what comes back


def test_the_picture_comes_back_byte_for_byte_whatever_white_space_the_address_has(
    fetcher: Fetcher, hosts: Hosts
) -> None:
    data = bytes(range(256)) * 3
    assert fetcher.fetch(f" \n{hosts(reply(data)).url()}\t ") == data


def test_the_whole_head_of_a_request_is_as_meant(hosts: Hosts) -> None:
    host = hosts(reply())
    contact = "https://cats.example/about"
    with contextlib.closing(
        Fetcher(limit_bytes=9, timeout_s=9, allowed_addresses=[LOOPBACK], contact=contact)
    ) as fetcher:
        fetcher.fetch(host.url("/a b/ü.jpg?size=1&x=%20#part"))
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


def test_a_host_is_told_where_to_complain(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply())
    fetcher.fetch(host.url())
    assert f"User-Agent: imgserve/{__version__} (+https://".encode() in host.requests[0]


def test_an_ipv6_host_is_asked_with_brackets(made: Made, hosts: Hosts) -> None:
    host = hosts(reply(), address="::1")
    assert made("::1/128").fetch(host.url()) == b"picture"
    assert f"Host: [::1]:{host.port}".encode() in host.requests[0]


def test_the_usual_port_is_not_named(
    fetcher: Fetcher, hosts: Hosts, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosts(reply())
    names("cats.example", [PUBLIC])
    meant = detoured(monkeypatch, host)
    assert fetcher.fetch("http://cats.example/cat.jpg") == b"picture"
    assert b"\r\nHost: cats.example\r\n" in host.requests[0]
    assert meant == [(PUBLIC, 80)]


def test_cookies_are_not_kept(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply(b"picture", "200 OK", "Set-Cookie: a=b; Path=/"))
    for _ in range(2):
        fetcher.fetch(host.url())
    assert b"cookie" not in host.requests[1].lower()


def test_proxies_named_by_the_environment_are_left_aside(
    fetcher: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, host = hosts(reply(b"proxy")), hosts(reply())
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.origin)
    assert fetcher.fetch(host.url()) == b"picture"
    assert proxy.connections == 0


def test_a_body_encoded_unasked_is_decoded(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply(gzip.compress(b"picture"), "200 OK", "Content-Encoding: gzip"))
    assert fetcher.fetch(host.url()) == b"picture"


# Limits, from both sides


def chunked(body: bytes) -> Answer:
    return raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(body):x}\r\n".encode()
        + body
        + b"\r\n0\r\n\r\n"
    )


BODIES: dict[str, Callable[[bytes], Answer]] = {
    "length": reply,
    "close": lambda body: reply(body, length=False),
    "chunked": chunked,
    "gzip": lambda body: reply(gzip.compress(body), "200 OK", "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_picture_of_the_limit_passes_and_one_byte_more_is_refused(
    fetcher: Fetcher, hosts: Hosts, kind: str
) -> None:
    assert len(fetcher.fetch(hosts(BODIES[kind](b"x" * LIMIT)).url())) == LIMIT
    with pytest.raises(PictureTooLarge, match=r"has (1001 bytes; at most|more than) 1000 bytes"):
        fetcher.fetch(hosts(BODIES[kind](b"x" * (LIMIT + 1))).url())


def test_an_announced_length_over_the_limit_is_refused_before_the_body(
    fetcher: Fetcher, hosts: Hosts
) -> None:
    def announce(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        return silence(sock, request)

    host = hosts(announce)
    with pytest.raises(PictureTooLarge):
        fetcher.fetch(host.url())
    assert host.was_cut.wait(PATIENCE_S)


def test_an_endless_body_is_cut_at_the_limit(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100, pause_s=0))
    with pytest.raises(PictureTooLarge):
        fetcher.fetch(host.url())
    assert host.was_cut.wait(PATIENCE_S)


def test_a_decompression_bomb_is_cut_at_the_limit(made: Made, hosts: Hosts) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    host = hosts(reply(bomb, "200 OK", "Content-Encoding: gzip"))
    with pytest.raises(PictureTooLarge):
        made(limit=1_000_000).fetch(host.url())


def test_an_address_of_exactly_the_limit_passes(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply())
    url = host.url("/").ljust(LIMIT_URL_CHARS, "a")
    assert fetcher.fetch(url) == b"picture"
    with pytest.raises(InvalidUrl, match="longer than 8000 characters"):
        fetcher.fetch(url + "a")


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
def test_an_answer_that_asking_again_cannot_mend_says_what_to_do(
    fetcher: Fetcher, hosts: Hosts, status: str, named: str, sentence: str
) -> None:
    host = hosts(reply(b"", status))
    with pytest.raises(PictureHostRefused) as caught:
        fetcher.fetch(host.url())
    assert sentence.format(named) in str(caught.value)
    assert len(host.requests) == 1


@pytest.mark.parametrize("status", ["500 Oh", "599 Oh"])
def test_a_failure_of_the_host_may_pass(fetcher: Fetcher, hosts: Hosts, status: str) -> None:
    with pytest.raises(PictureHostFailed, match="try again later, or use a picture") as caught:
        fetcher.fetch(hosts(reply(b"", status)).url())
    assert caught.type is PictureHostFailed


def busy_once(status: str, *headers: str) -> Answer:
    answers = iter([reply(b"", status, *headers), reply()])

    def answer(sock: socket.socket, request: bytes) -> bool:
        return next(answers)(sock, request)

    return answer


@pytest.mark.parametrize("status", ["429 Slow down", "503 Busy"])
@pytest.mark.parametrize("after", [["Retry-After: 1"], ["Retry-After: soon"], []])
def test_a_busy_host_is_asked_once_more_when_it_says_so(
    fetcher: Fetcher, hosts: Hosts, status: str, after: list[str]
) -> None:
    began = time.monotonic()
    assert fetcher.fetch(hosts(busy_once(status, *after)).url()) == b"picture"
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        ("Retry-After: 40", 40),
        ("Retry-After: 600", 600),
        ("Retry-After: 601", 600),
        (f"Retry-After: {'9' * 400}", 600),
        ("Retry-After: DATE", 600),
    ],
)
def test_a_host_that_is_busy_for_longer_says_until_when(
    fetcher: Fetcher, hosts: Hosts, after: str, shown: int
) -> None:
    later = formatdate(time.time() + 3000, usegmt=True)
    host = hosts(reply(b"", "429 Slow down", after.replace("DATE", later)))
    with pytest.raises(PictureHostBusy) as caught:
        fetcher.fetch(host.url())
    assert str(caught.value) == (
        "The picture's host is busy (it answered 429 Too Many Requests): "
        f"try again in {shown} seconds."
    )
    assert caught.value.retry_after_s == shown
    assert len(host.requests) == 1


def test_a_host_that_stays_busy_is_asked_twice(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply(b"", "503 Busy"))
    with pytest.raises(PictureHostBusy, match=r"try again in 1 second\."):
        fetcher.fetch(host.url())
    assert len(host.requests) == 2


def test_a_dozen_pictures_of_a_host_that_allows_two_at_once_all_come(
    fetcher: Fetcher, hosts: Hosts
) -> None:
    inside = threading.Semaphore(2)

    def answer(sock: socket.socket, request: bytes) -> bool:
        if not inside.acquire(blocking=False):
            return reply(b"", "429 Slow down")(sock, request)
        time.sleep(0.05)
        inside.release()
        return reply(request.split()[1])(sock, request)

    host = hosts(answer)
    paths = [f"/{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda path: fetcher.fetch(host.url(path)), paths))
    assert found == [path.encode() for path in paths]
    assert len(host.requests) == 12


def test_an_answer_that_is_not_read_gives_its_place_back(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(by_path({"/no": reply(b"x" * 99_000, "403 No"), "/yes": reply()}))
    for _ in range(3):
        with pytest.raises(PictureHostRefused):
            fetcher.fetch(host.url("/no"))
    assert fetcher.fetch(host.url("/yes")) == b"picture"


def test_any_other_success_passes(fetcher: Fetcher, hosts: Hosts) -> None:
    assert fetcher.fetch(hosts(reply(b"picture", "299 Odd")).url()) == b"picture"


def test_an_empty_body_is_the_hosts_failure(fetcher: Fetcher, hosts: Hosts) -> None:
    with pytest.raises(PictureHostFailed, match="without any data: try again later"):
        fetcher.fetch(hosts(reply(b"")).url())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\xff\xfe" * 100,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\nabc",
    ],
    ids=lambda answer: repr(answer[:40]),
)
def test_an_answer_that_is_not_http_or_breaks_off_is_the_hosts_failure(
    fetcher: Fetcher, hosts: Hosts, answer: bytes
) -> None:
    with pytest.raises(PictureHostFailed, match="broke off or did not answer in HTTP") as caught:
        fetcher.fetch(hosts(raw(answer)).url())
    assert caught.value.__cause__ is not None, "the log has nothing to say"


def test_a_refused_connection_says_that_the_host_cannot_be_reached(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PictureHostFailed, match="cannot be reached"):
        fetcher.fetch(f"http://127.0.0.1:{port}/")


FIRST, SECOND, LAST = "127.0.0.2", "::1", "127.0.0.1"


@pytest.mark.parametrize("failure", [ConnectionRefusedError, TimeoutError, OSError])
def test_the_addresses_of_a_name_are_tried_in_turn_each_family_its_turn(
    made: Made, hosts: Hosts, names: Names, monkeypatch: pytest.MonkeyPatch, failure: type[OSError]
) -> None:
    host, tried = hosts(reply()), []

    def connect(where: tuple[str, int], limit_s: float, **_: Any) -> socket.socket:
        tried.append((where[0], limit_s))
        if len(tried) < 4:
            raise failure
        return socket.create_connection((LAST, host.port))

    monkeypatch.setattr(CONNECT, connect)
    names("cats.example", [FIRST, "127.0.0.3", LAST, SECOND, FIRST])
    fetcher = made("127.0.0.0/8", "::1")
    assert fetcher.fetch("http://cats.example/") == b"picture"
    assert [address for address, _ in tried] == [FIRST, SECOND, "127.0.0.3", LAST]
    assert all(limit_s <= LIMIT_CONNECT_S for _, limit_s in tried[:3])
    assert LIMIT_CONNECT_S < tried[3][1] <= PATIENCE_S


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    hasty: Fetcher, hosts: Hosts, names: Names
) -> None:
    host = hosts(reply(), address="127.0.0.1")
    with socket.socket() as full:  # whose queue is full, so that no connection is taken
        full.bind(("127.0.0.2", host.port))
        full.listen(0)
        names("cats.example", ["127.0.0.2", "127.0.0.1"])
        fetcher = Fetcher(limit_bytes=9, timeout_s=2, allowed_addresses=["127.0.0.0/8"])
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(fetcher))
            for _ in range(2):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.2", host.port))
            assert fetcher.fetch(f"http://cats.example:{host.port}/") == b"picture"


def test_a_name_that_is_not_found_is_named(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for typed in ("cats.example", "Cats.Example", "zürich.example"):  # shown as it was typed
        with pytest.raises(PictureHostRefused) as caught:
            fetcher.fetch(f"http://{typed}/cat.jpg")
        assert str(caught.value) == f"{typed} was not found: check the address for typing errors."


def test_a_machine_without_threads_to_spare_says_busy(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(Busy):
        fetcher.fetch("http://cats.example/cat.jpg")


def test_the_fetch_belongs_to_the_requests_trace_and_keeps_its_own_to_itself(
    fetcher: Fetcher, hosts: Hosts, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, Any]] = []
    genuine = socket.getaddrinfo

    def resolve(*how: Any, **more: Any) -> Any:
        seen.append((threading.current_thread().name, TRACE_FIELDS.get()))
        return genuine(*how, **more)

    host = hosts(reply())
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    fields = {"logging.googleapis.com/trace": "abc"}
    token = TRACE_FIELDS.set(fields)
    try:
        fetcher.fetch(host.url())
    finally:
        TRACE_FIELDS.reset(token)
    assert ("fetch", fields) in seen
    assert current_attempt.get(None) is None


# The deadline


SLOW = {
    "says nothing": silence,
    "drips its status line": endless(b"HTTP", b"/"),
    "drips its headers": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.2),
    "drips one header": endless(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "drips its body": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"x", 0.05),
    "drips a body without length": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05),
    "sends 100 Continue for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_host_is_left_at_the_deadline(hasty: Fetcher, hosts: Hosts, how: str) -> None:
    host = hosts(SLOW[how])
    with pytest.raises(PictureHostTimeout) as caught:
        hasty.fetch(host.url())
    assert str(caught.value) == (
        "The picture's host took longer than 0.5 seconds: "
        "try again, or use a picture from another host."
    )
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)


def test_the_deadline_covers_redirects_together(hasty: Fetcher, hosts: Hosts) -> None:
    def slow(sock: socket.socket, request: bytes) -> bool:
        time.sleep(IMPATIENCE_S * 0.6)
        return redirect("/again")(sock, request)

    host = hosts(slow)
    with pytest.raises(PictureHostTimeout):
        hasty.fetch(host.url())
    wait_until(no_fetch_is_running)
    assert len(host.requests) <= 3


def test_the_deadline_covers_the_look_up_of_the_host(
    hasty: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, found = hosts(reply()), threading.Event()
    genuine = socket.getaddrinfo

    def slow(name: Any, *rest: Any, **more: Any) -> Any:
        found.wait(PATIENCE_S)
        return genuine("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(PictureHostTimeout):
        hasty.fetch(f"http://cats.example:{host.port}/cat.jpg")
    found.set()
    wait_until(no_fetch_is_running)
    assert host.connections == 0


def test_the_deadline_covers_connecting(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(CONNECT, slow)
    with pytest.raises(PictureHostTimeout):
        fetcher.fetch("http://127.0.0.1/cat.jpg")


def test_connecting_again_has_only_the_time_that_is_left(
    fetcher: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up_late(sock: socket.socket, request: bytes) -> bool:
        time.sleep(IMPATIENCE_S)
        return False

    host = hosts(hang_up_late)
    given: list[float] = []

    def connect(_: Any, timeout_s: float, **__: Any) -> socket.socket:
        given.append(timeout_s)
        return socket.create_connection(("127.0.0.1", host.port))

    monkeypatch.setattr(CONNECT, connect)
    with pytest.raises(PictureHostFailed):
        fetcher.fetch(host.url())
    first, second = given
    assert second <= first - IMPATIENCE_S


def test_the_deadline_covers_the_tls_handshake(hasty: Fetcher, hosts: Hosts) -> None:
    def wordless(sock: socket.socket, request: bytes) -> bool:
        raise AssertionError("no request can come")

    host = hosts(wordless)
    with pytest.raises(PictureHostTimeout):
        hasty.fetch(host.url().replace("http:", "https:"))
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)


def test_a_connection_made_after_the_deadline_is_closed_at_once(
    hasty: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosts(silence)
    late: list[socket.socket] = []

    def connect(*_: Any, **__: Any) -> socket.socket:
        time.sleep(IMPATIENCE_S * 2)
        late.append(socket.create_connection(("127.0.0.1", host.port)))
        return late[0]

    monkeypatch.setattr(CONNECT, connect)
    with pytest.raises(PictureHostTimeout):
        hasty.fetch("http://127.0.0.1/")
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)
    assert late[0].fileno() == -1
    assert host.requests == []


def test_a_read_that_times_out_by_itself_is_the_hosts_slowness(
    fetcher: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempt, "remaining_s", lambda _: 0.2)
    answer = endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x", PATIENCE_S / 10)
    with pytest.raises(PictureHostTimeout):
        fetcher.fetch(hosts(answer).url())


def test_an_attempt_without_time_left_says_so() -> None:
    with pytest.raises(PictureHostTimeout), Attempt(AddressRules(), 0.0, hold=print) as attempt:
        attempt.remaining_s()


def test_cutting_short_a_connection_that_is_gone_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    with ours, theirs, listener, Attempt(AddressRules(), 1.0, hold=print) as attempt:
        attempt.adopt(listener)
        attempt.adopt(ours)
        with socket.socket() as never_connected:
            attempt.adopt(never_connected)
        attempt.cut_short()
        assert theirs.recv(1) == b""


# Connections


def test_a_connection_is_kept_for_the_next_fetch(fetcher: Fetcher, hosts: Hosts) -> None:
    host = hosts(reply())
    for _ in range(5):
        fetcher.fetch(host.url())
    assert host.connections == 1


def test_a_kept_connection_can_be_cut_at_the_deadline(hasty: Fetcher, hosts: Hosts) -> None:
    host = hosts(by_path({"/fast": reply(), "/slow": SLOW["drips its body"]}))
    hasty.fetch(host.url("/fast"))
    with pytest.raises(PictureHostTimeout):
        hasty.fetch(host.url("/slow"))
    assert host.was_cut.wait(PATIENCE_S)
    assert host.connections == 1
    assert hasty.fetch(host.url("/fast")) == b"picture"


def test_a_kept_connection_that_the_host_closes_is_replaced(fetcher: Fetcher, hosts: Hosts) -> None:
    def once(sock: socket.socket, request: bytes) -> bool:
        # The second request on a connection finds it closing.
        return len(host.requests) != 2 and reply()(sock, request)

    host = hosts(once)
    assert fetcher.fetch(host.url()) == fetcher.fetch(host.url()) == b"picture"
    assert host.connections == 2


def test_many_threads_may_fetch_at_once(fetcher: Fetcher, hosts: Hosts) -> None:
    def echo(sock: socket.socket, request: bytes) -> bool:
        return reply(request.split()[1])(sock, request)

    host = hosts(echo)
    paths = [f"/{number}" for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: fetcher.fetch(host.url(path)), paths))
    assert answers == [path.encode() for path in paths]
    assert host.connections <= 2


# Redirects


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_followed(fetcher: Fetcher, hosts: Hosts, status: int) -> None:
    other = hosts(reply())
    host = hosts(redirect(other.url("/there"), f"{status} Elsewhere"))
    assert fetcher.fetch(host.url()) == b"picture"
    assert other.requests[0].startswith(b"GET /there ")


@pytest.mark.parametrize("location", ["/b", "b", "?b", "//127.0.0.1:PORT/b", "/b#part", "/ü"])
def test_a_redirect_may_be_relative_or_in_utf_8(
    fetcher: Fetcher, hosts: Hosts, location: str
) -> None:
    def answer(sock: socket.socket, request: bytes) -> bool:
        first = request.startswith(b"GET /a ")
        target = location.replace("PORT", str(host.port))
        return (redirect(target) if first else reply())(sock, request)

    host = hosts(answer)
    assert fetcher.fetch(host.url("/a")) == b"picture"


def chain(length: int) -> Answer:
    steps = {f"/{number}": redirect(f"/{number + 1}") for number in range(length)}
    return by_path({**steps, f"/{length}": reply()})


def test_ten_redirects_are_followed_and_one_more_is_too_many(
    fetcher: Fetcher, hosts: Hosts
) -> None:
    assert fetcher.fetch(hosts(chain(LIMIT_REDIRECTS)).url("/0")) == b"picture"
    host = hosts(chain(LIMIT_REDIRECTS + 1))
    with pytest.raises(PictureHostFailed, match="more than 10 times: save the picture"):
        fetcher.fetch(host.url("/0"))
    assert len(host.requests) == LIMIT_REDIRECTS + 1


def test_a_host_that_sends_back_with_a_cookie_wants_cookies(fetcher: Fetcher, hosts: Hosts) -> None:
    def answer(sock: socket.socket, request: bytes) -> bool:
        return reply(b"", "302 Found", "Location: /a", "Set-Cookie: a=b")(sock, request)

    host = hosts(answer)
    with pytest.raises(PictureHostRefused, match="wants to set cookies, which are never kept"):
        fetcher.fetch(host.url("/a"))
    assert len(host.requests) == 1


def test_a_cookie_on_the_way_to_elsewhere_does_not_matter(fetcher: Fetcher, hosts: Hosts) -> None:
    elsewhere = reply(b"", "302 Found", "Location: /b", "Set-Cookie: a=b")
    assert fetcher.fetch(hosts(by_path({"/a": elsewhere, "/b": reply()})).url("/a")) == b"picture"


NO_WEB_ADDRESS = r"""
ftp://127.0.0.1/a file:///etc/passwd data:image/png;base64,AAAA javascript:alert(1) http://
http://[::1 http://user:word@127.0.0.1/ http://127.0.0.1:99999/ http://%zz/
""".split()  # noqa: SIM905 - as a list it takes a line for each


@pytest.mark.parametrize("location", ["", "http://\xff\xfe/", *NO_WEB_ADDRESS])
def test_a_redirect_to_no_web_address_is_the_hosts_failure(
    fetcher: Fetcher, hosts: Hosts, location: str
) -> None:
    with pytest.raises(HttpError) as caught:
        fetcher.fetch(hosts(redirect(location)).url())
    assert caught.value.status in {400, 502}


@pytest.mark.parametrize(
    "location", ["http://10.0.0.1/", "http://169.254.169.254/", "http://127.0.0.2/", "//[::1]/"]
)
def test_a_redirect_to_a_private_address_is_refused_without_naming_it(
    fetcher: Fetcher, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    host = hosts(redirect(location))
    tried = detoured(monkeypatch, host)
    with pytest.raises(AddressNotAllowed) as caught:
        fetcher.fetch(host.url())
    assert str(caught.value).startswith("The host that the address redirects to has no public")
    assert tried == [("127.0.0.1", host.port)]


def test_a_redirect_to_another_port_is_refused(
    fetcher: Fetcher, hosts: Hosts, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosts(redirect("http://cats.example:8080/"))
    names("cats.example", [PUBLIC])
    meant = detoured(monkeypatch, host)
    with pytest.raises(InvalidUrl, match="redirects to port 8080"):
        fetcher.fetch(host.url())
    assert meant == [("127.0.0.1", host.port)]


def test_the_body_of_a_redirect_is_not_read(fetcher: Fetcher, hosts: Hosts) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    host = hosts(by_path({"/a": endless(head, b"x" * 65536, 0), "/b": reply()}))
    assert fetcher.fetch(host.url("/a")) == b"picture"
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
    guarded: Fetcher, unreachable: Tried, address: str
) -> None:
    with pytest.raises((AddressNotAllowed, InvalidUrl, PictureHostRefused)) as caught:
        guarded.fetch(f"{address}/cat.jpg")
    assert unreachable == []
    assert caught.type is AddressNotAllowed or not address.isascii() or "%25" in address


@pytest.mark.parametrize(
    "url",
    [
        "http://1.1.1.1/",
        "http://[::ffff:1.1.1.1]/",
        "https://[2606:4700::1111]/",
        "https://[2000::]/",
        "http://[64:ff9b::1.1.1.1]/",
        "https://[3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]/",
    ],
)
def test_a_public_address_is_connected_to(guarded: Fetcher, unreachable: Tried, url: str) -> None:
    with pytest.raises(PictureHostFailed, match="cannot be reached"):
        guarded.fetch(url)
    assert len(unreachable) == 1


@pytest.mark.parametrize(
    "answers", [["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC, "::ffff:10.0.0.1"]]
)
def test_a_name_is_refused_if_one_of_its_addresses_is_not_public(
    guarded: Fetcher, names: Names, unreachable: Tried, answers: list[str]
) -> None:
    names("cats.example", answers)
    with pytest.raises(AddressNotAllowed) as caught:
        guarded.fetch("http://cats.example/")
    assert str(caught.value) == (
        "cats.example has no public address: "
        "use a picture that anyone on the internet can open, or upload it."
    )
    assert unreachable == []


def test_a_name_that_changes_its_address_after_the_check_is_not_asked_again(
    guarded: Fetcher, names: Names, unreachable: Tried
) -> None:
    names("cats.example", [PUBLIC], ["127.0.0.1"])
    with pytest.raises(PictureHostFailed):
        guarded.fetch("http://cats.example/")
    assert unreachable == [(PUBLIC, 80)]
    with pytest.raises(AddressNotAllowed):
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
    made: Made, unreachable: Tried, allowed: str, passes: str, fails: str
) -> None:
    fetcher = made(allowed)
    with pytest.raises(PictureHostFailed, match="cannot be reached"):
        fetcher.fetch(f"http://{passes}:8080/")
    assert [port for _, port in unreachable] == [8080]
    with pytest.raises((AddressNotAllowed, InvalidUrl)):
        fetcher.fetch(f"http://{fails}:8080/")
    assert len(unreachable) == 1


@pytest.mark.parametrize("port", [1, 22, 79, 81, 442, 444, 8080, 65535])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_only_the_usual_ports_of_a_public_address_are_connected_to(
    fetcher: Fetcher, names: Names, unreachable: Tried, scheme: str, port: int
) -> None:
    names("cats.example", [PUBLIC])
    for usual in ("", ":80", ":443"):
        with pytest.raises(PictureHostFailed, match="cannot be reached"):
            fetcher.fetch(f"{scheme}://cats.example{usual}/")
    assert {port for _, port in unreachable} == {80, 443}
    unreachable.clear()
    with pytest.raises(InvalidUrl, match=f"port {port}: pictures are fetched from ports 80 and"):
        fetcher.fetch(f"{scheme}://cats.example:{port}/")
    assert unreachable == []


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
def test_a_malformed_address_is_refused(fetcher: Fetcher, unreachable: Tried, url: str) -> None:
    with pytest.raises(InvalidUrl):
        fetcher.fetch(url)
    assert unreachable == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("blob:https://cats.example/1-2", "works only inside the browser that made it: save"),
        ("file:///home/cat.jpg", "of a file on your own device: upload the file instead"),
        ("C:\\cats\\cat.jpg", "of a file on your own device"),
        ("/home/cat.jpg", "of a file on your own device"),
    ],
)
def test_what_is_no_web_address_is_named(fetcher: Fetcher, url: str, sentence: str) -> None:
    with pytest.raises(InvalidUrl, match=sentence):
        fetcher.fetch(url)


@pytest.mark.parametrize(
    "spelling",
    ["\u200b{}\ufeff", "\x00{}\x1f", "{}\u2060 \n", "\xa0{}"],
    ids=ascii,
)
def test_what_surrounds_an_address_unseen_is_left_aside(
    fetcher: Fetcher, hosts: Hosts, spelling: str
) -> None:
    assert fetcher.fetch(spelling.format(hosts(reply()).url())) == b"picture"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/ca\n t\ts.j\rpg", b"/ca%20ts.jpg"),
        ("\\cats\\cat.jpg?a\\b", b"/cats/cat.jpg?a%5Cb"),
    ],
)
def test_a_broken_or_slanted_address_is_read_as_browsers_do(
    fetcher: Fetcher, hosts: Hosts, path: str, sent: bytes
) -> None:
    host = hosts(reply())
    fetcher.fetch(host.url(path))
    assert host.requests[0].split()[1] == sent


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
@pytest.mark.parametrize("who", ["user", "user:word", ":word", "user:", "1.1.1.1:80", "%40"])
def test_credentials_are_refused(
    fetcher: Fetcher, unreachable: Tried, scheme: str, who: str
) -> None:
    with pytest.raises(InvalidUrl, match="user name or password"):
        fetcher.fetch(f"{scheme}://{who}@127.0.0.1/cat.jpg")
    assert unreachable == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1\\@10.0.0.1/", "http://127.0.0.1#@10.0.0.1/", "http://127.0.0.1?@10.1/"],
)
def test_an_address_that_parsers_may_read_in_two_ways_goes_where_the_check_went(
    fetcher: Fetcher, unreachable: Tried, url: str
) -> None:
    with pytest.raises(PictureHostFailed, match="cannot be reached"):
        fetcher.fetch(url)
    assert unreachable == [("127.0.0.1", 80)]


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
        with pytest.raises(HttpError):
            guarded.fetch(text)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for cats.example, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cats.example")])
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    for extension in (
        x509.SubjectAlternativeName([x509.DNSName("cats.example")]),
        x509.BasicConstraints(ca=True, path_length=None),
    ):
        builder = builder.add_extension(extension, critical=False)
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return file


@pytest.fixture
def secure(
    certificate: Path, hosts: Hosts, names: Names, monkeypatch: pytest.MonkeyPatch
) -> PictureHost:
    """Return a host that speaks TLS, to which every connection goes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host = hosts(reply(), tls=context)
    for name in ("cats.example", "dogs.example"):
        names(name, ["127.0.0.1"])
    return host


def test_a_self_signed_certificate_is_refused(fetcher: Fetcher, secure: PictureHost) -> None:
    with pytest.raises(PictureHostRefused, match="is signed by nobody but the host itself: save"):
        fetcher.fetch(f"https://cats.example:{secure.port}/")
    assert secure.requests == []


def test_a_trusted_certificate_passes_for_its_own_name_only(
    made: Made, certificate: Path, secure: PictureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    fetcher = made()
    for _ in range(2):
        assert fetcher.fetch(f"https://cats.example:{secure.port}/") == b"picture"
    assert secure.connections == 1
    assert f"\r\nHost: cats.example:{secure.port}\r\n".encode() in secure.requests[0]
    for host, other in (("dogs.example", "name"), ("127.0.0.1", "address")):
        with pytest.raises(PictureHostRefused, match=f"its certificate belongs to another {other}"):
            fetcher.fetch(f"https://{host}:{secure.port}/")


def test_authorities_of_the_operators_own_count_beside_the_usual_ones(
    certificate: Path, secure: PictureHost
) -> None:
    fetcher = Fetcher(
        limit_bytes=9, timeout_s=9, allowed_addresses=[LOOPBACK], certificates=certificate
    )
    with contextlib.closing(fetcher):
        assert fetcher.fetch(f"https://cats.example:{secure.port}/") == b"picture"


def test_a_host_without_tls_is_the_hosts_failure(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def greet() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.recv(65536)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(
            PictureHostFailed,
            match="it does not answer in TLS as it should",
        ):
            fetcher.fetch(f"https://127.0.0.1:{port}/")
        thread.join(PATIENCE_S)
