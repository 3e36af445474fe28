"""Fetching strangers' pictures, against real servers on loopback addresses."""

import contextlib
import functools
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
from unittest.mock import Mock

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
from imgserve.settings import BackendSettings
from tests.unit.picture_host import Answer, PictureHost, endless, raw, redirect, reply, silence
from tests.unit.waiting import wait_until

LIMIT = 1024
LOOPBACK = "127.0.0.1/32"
PUBLIC = "93.184.215.14"  # an address of example.com; no test connects to it
PATIENCE_S = 20.0
IMPATIENCE_S = 0.5


@functools.cache
def fetcher(**how: Any) -> Fetcher:
    """Return a fetcher, from 127.0.0.1 alone if not said otherwise: of each kind one."""
    usual = {"fetch_timeout_s": PATIENCE_S, "allowed_addresses": (LOOPBACK,)}
    return Fetcher(BackendSettings(max_image_bytes=LIMIT, **usual | how))


class Web(contextlib.ExitStack):
    """What a fetcher meets: hosts, and in the resolver's and connections' place what a test says.

    Attributes:
        names: what the resolver finds for a host's name, each time that it is asked.
        tried: where connections went, or would have gone, since they were led elsewhere.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.names = {"cats.example": [["127.0.0.1"]], "dogs.example": [["127.0.0.1"]]}
        self.tried: list[tuple[str, int]] = []  # addresses and ports
        self.patch = monkeypatch
        self._genuine = socket.getaddrinfo
        self.resolve(self._look_up)

    def _look_up(self, host: Any, *rest: Any, **more: Any) -> Any:
        answers = self.names.get(host, [[host]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [self._genuine(address, *rest, **more)[0] for address in found]

    def host(self, *answers: Answer, **how: Any) -> PictureHost:
        return self.enter_context(PictureHost(*answers or [reply()], **how))

    def fetch(self, url: str, **how: Any) -> bytes:
        """Fetch, and keep connections until the end of the test."""
        self.callback(fetcher(**how).close)
        return fetcher(**how).fetch(url)

    def fetch_from(self, *answers: Answer) -> bytes:
        return self.fetch(self.host(*answers).url())

    def refused(
        self, url: str, error: type[errors.HttpError], sentence: str = "", **how: Any
    ) -> errors.HttpError:
        """Fetch in vain; return the error, which is of this class and has this sentence."""
        with pytest.raises(error) as caught:
            self.fetch(url, **how)
        assert sentence in str(caught.value)
        return caught.value

    def resolve(self, look_up: Callable[..., Any]) -> None:
        self.patch.setattr(socket, "getaddrinfo", look_up)

    def connect(self, connect: Callable[..., socket.socket]) -> None:
        """Connect by this function, which is told an address with its port, and a time limit."""

        def noted(where: tuple[str, int], limit_s: float, **_: Any) -> socket.socket:
            self.tried.append(where)
            return connect(where, limit_s)

        self.patch.setattr("urllib3.util.connection.create_connection", noted)

    def lead_to(self, host: PictureHost) -> None:
        self.connect(lambda *_: socket.create_connection(("127.0.0.1", host.port)))

    def refuse(self, error: type[OSError] = ConnectionRefusedError) -> None:
        self.connect(Mock(side_effect=error))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with Web(monkeypatch) as web:
        yield web


def no_fetch_is_running() -> bool:
    return all(thread.name != "fetch" for thread in threading.enumerate())


# What is asked and what comes back


def test_the_whole_head_of_a_request_is_as_meant_and_cookies_are_not_kept(web: Web) -> None:
    host = web.host(reply(b"picture", "200 OK", "Set-Cookie: a=b; Path=/"))
    for contact in (HOMEPAGE, HOMEPAGE, "https://cats.example/about"):
        how = {} if contact == HOMEPAGE else {"fetch_contact": contact}
        web.fetch(host.url("/a b/ü.jpg?size=1&x=%20#part"), **how)
        assert host.requests.pop().decode().split("\r\n") == [
            "GET /a%20b/%C3%BC.jpg?size=1&x=%20 HTTP/1.1",
            f"Host: 127.0.0.1:{host.port}",
            f"User-Agent: imgserve/{__version__} (+{contact})",
            "Accept: image/jpeg,image/png,image/webp,image/gif,image/bmp,image/avif,image/tiff,"
            "*/*;q=0.1",
            "Accept-Encoding: identity",
            "",
            "",
        ]


def test_an_ipv6_host_is_named_in_brackets_and_the_usual_port_not_at_all(web: Web) -> None:
    host, usual = web.host(address="::1"), web.host()
    assert web.fetch(host.url(), allowed_addresses=("::1/128",)) == b"picture"
    assert f"Host: [::1]:{host.port}".encode() in host.requests[0]
    web.names["cats.example"] = [[PUBLIC]]
    web.lead_to(usual)
    assert web.fetch("http://cats.example/cat.jpg") == b"picture"
    assert b"\r\nHost: cats.example\r\n" in usual.requests[0]
    assert web.tried == [(PUBLIC, 80)]


def test_proxies_named_by_the_environment_are_left_aside(web: Web) -> None:
    proxy = web.host(reply(b"proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        web.patch.setenv(name, proxy.origin)
    assert web.fetch_from(reply()) == b"picture"
    assert proxy.connections == 0


# Limits, from both sides


OK = b"HTTP/1.1 200 OK\r\n"


def chunked(body: bytes) -> Answer:
    return raw(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def zipped(body: bytes) -> Answer:
    """Return an answer that is encoded unasked."""
    return reply(gzip.compress(body), "200 OK", "Content-Encoding: gzip")


@pytest.mark.parametrize(
    "kind", [reply, partial(reply, status="299 Odd"), partial(reply, length=False), chunked, zipped]
)
def test_a_picture_of_the_limit_comes_back_byte_for_byte_and_one_byte_more_is_refused(
    web: Web, kind: Callable[[bytes], Answer]
) -> None:
    data = bytes(range(256)) * 4
    assert len(data) == LIMIT
    assert web.fetch_from(kind(data)) == data
    with pytest.raises(errors.PictureTooLarge, match=r"(1025 bytes; at most|more than) 1024 bytes"):
        web.fetch_from(kind(data + b"x"))


@pytest.mark.parametrize(
    "answer",
    [
        raw(OK + b"Content-Length: 1025\r\n\r\n", is_kept=True),  # and none of the body
        endless(OK + b"\r\n", b"x" * 100, pause_s=0),
        zipped(bytes(50_000_000)),
    ],
)
def test_a_length_over_the_limit_an_endless_body_and_a_decompression_bomb_are_cut(
    web: Web, answer: Answer
) -> None:
    host = web.host(answer)
    web.refused(host.url(), errors.PictureTooLarge)
    assert host.was_cut.wait(PATIENCE_S)


def test_an_address_of_exactly_the_limit_passes(web: Web) -> None:
    url = web.host().url("/").ljust(LIMIT_URL_CHARS, "a")
    assert web.fetch(url) == b"picture"
    web.refused(url + "a", errors.InvalidUrl, "longer than 8000 characters")


# What goes wrong at the host

# What the host answers, in the registered words, by what is said of it.
ANSWERED = {
    "does not give its pictures to programs (it answered {}): save the picture and upload it.": (
        "401 Unauthorized|403 Forbidden|406 Not Acceptable|451 Unavailable For Legal Reasons"
    ),
    "There is nothing at this address (the picture's host answered {}): check it for typing": (
        "404 Not Found|410 Gone"
    ),
    "The picture's host answered {}: save the picture and upload it.": (
        "400 Bad Request|999|304 Not Modified|300 Multiple Choices"
    ),
    "The picture's host answered {}: try again later, or use a picture from another host.": (
        "500 Internal Server Error|599|200 without any data"
    ),
}


@pytest.mark.parametrize(
    ("answered", "sentence"),
    [(each, sentence) for sentence, all_ in ANSWERED.items() for each in all_.split("|")],
)
def test_an_answer_without_a_picture_says_what_to_do(
    web: Web, answered: str, sentence: str
) -> None:
    host = web.host(reply(b"", f"{answered[:3]} in its own words"))
    sentence = sentence.format(answered.removeprefix("200 "))
    error = web.refused(host.url(), errors.PictureHostFailed, sentence)
    assert isinstance(error, errors.PictureHostRefused) == ("again later" not in sentence)
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("status", "after"),
    [("429 No", ["Retry-After: 1"]), ("503 Busy", ["Retry-After: soon"]), ("429 No", [])],
)
def test_a_busy_host_is_asked_again_when_it_says(web: Web, status: str, after: list[str]) -> None:
    began = time.monotonic()
    assert web.fetch_from(reply(b"", status, *after), reply()) == b"picture"
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("after", "shown", "asked"),
    [
        *(("40", "40 seconds", 1), ("600", "600 seconds", 1), ("601", "600 seconds", 1)),
        *(("9" * 400, "600 seconds", 1), ("DATE", "600 seconds", 1)),
        ("soon", "1 second", 2),
    ],
)
def test_a_host_that_is_busy_for_longer_says_until_when(
    web: Web, after: str, shown: str, asked: int
) -> None:
    later = formatdate(time.time() + 3000, usegmt=True)
    host = web.host(reply(b"", "429 No", f"Retry-After: {after.replace('DATE', later)}"))
    error = web.refused(host.url(), errors.PictureHostBusy)
    assert str(error) == (
        f"The picture's host is busy (it answered 429 Too Many Requests): try again in {shown}."
    )
    assert error.retry_after_s == int(shown.split(maxsplit=1)[0])
    assert len(host.requests) == asked


def test_a_dozen_pictures_of_a_host_that_allows_two_at_once_all_come(web: Web) -> None:
    inside = threading.Semaphore(2)

    def answer(sock: socket.socket, request: bytes) -> bool:
        if not inside.acquire(blocking=False):
            return reply(b"", "429 Slow down")(sock, request)
        time.sleep(0.05)
        inside.release()
        return reply(request.split()[1])(sock, request)

    host = web.host(answer)
    paths = [f"/{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda path: web.fetch(host.url(path)), paths))
    assert found == [path.encode() for path in paths]
    assert len(host.requests) == 12
    assert host.connections <= 2


def test_an_answer_that_is_not_read_gives_its_place_back(web: Web) -> None:
    host = web.host(*[reply(b"x" * 99_000, "403 No")] * 3, reply())
    for _ in range(3):
        web.refused(host.url(), errors.PictureHostRefused)
    assert web.fetch(host.url()) == b"picture"


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
    url = web.host(raw(answer)).url()
    error = web.refused(url, errors.PictureHostFailed, "broke off or did not answer in HTTP")
    assert error.__cause__ is not None, "the log has nothing to say"


@pytest.mark.parametrize("failure", [ConnectionRefusedError, TimeoutError, OSError])
def test_addresses_are_tried_in_turn_and_each_family_too(web: Web, failure: type[OSError]) -> None:
    host, limits_s = web.host(), []

    def connect(_: object, limit_s: float) -> socket.socket:
        limits_s.append(limit_s)
        if len(limits_s) < 4:
            raise failure
        return socket.create_connection(("127.0.0.1", host.port))

    web.connect(connect)
    web.names["cats.example"] = [["127.0.0.2", "127.0.0.3", "127.0.0.1", "::1", "127.0.0.2"]]
    how = {"allowed_addresses": ("127.0.0.0/8", "::1"), "fetch_timeout_s": 6}
    assert web.fetch("http://cats.example/", **how) == b"picture"
    tried = [address for address, _ in web.tried]
    assert tried == ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]
    assert limits_s[0] < 6 / 4, "no time is left for the others"
    assert all(limit_s <= LIMIT_CONNECT_S for limit_s in limits_s[:3])
    assert LIMIT_CONNECT_S < limits_s[3] < 6


def unknown(host: Any, *_: Any, **__: Any) -> Any:
    """Find no host of this name, once it is encoded as the genuine resolver does."""
    if isinstance(host, str):
        host.encode("idna")
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("typed", ["cats.example", "Cats.Example", "zürich.example"])
def test_a_name_that_is_not_found_is_shown_as_it_was_typed(web: Web, typed: str) -> None:
    web.resolve(unknown)
    error = web.refused(f"http://{typed}/cat.jpg", errors.PictureHostRefused)
    assert str(error) == f"{typed} was not found: check the address for typing errors."


def test_a_machine_without_threads_to_spare_says_busy(web: Web) -> None:
    fail = Mock(side_effect=RuntimeError("can't start new thread"))
    web.patch.setattr(threading.Thread, "start", fail)
    web.refused("http://cats.example/cat.jpg", errors.Busy)


def test_the_fetch_belongs_to_the_requests_trace_and_keeps_its_own_to_itself(web: Web) -> None:
    seen, fields = [], {"logging.googleapis.com/trace": "abc"}

    def resolve(*how: Any, **more: Any) -> Any:
        seen.append((threading.current_thread().name, TRACE_FIELDS.get()))
        return unknown(*how, **more)

    web.resolve(resolve)
    token = TRACE_FIELDS.set(fields)
    web.refused("http://cats.example/", errors.PictureHostRefused)
    TRACE_FIELDS.reset(token)
    assert seen == [("fetch", fields)]
    assert current_attempt.get(None) is None


# The deadline


SLOW = {
    "says nothing": silence,
    "drips its status line": endless(b"HTTP", b"/"),
    "drips its headers": endless(OK, b"X: y\r\n", 0.2),
    "drips one header": endless(OK + b"X: ", b"y"),
    "drips its body": endless(OK + b"Content-Length: 900\r\n\r\n", b"x", 0.05),
    "drips a body without length": endless(OK + b"\r\n", b"x", 0.05),
    "sends 100 Continue for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirects, slowly": reply(b"", "302 Found", "Location: /again", delay_s=0.6 * IMPATIENCE_S),
}


def left_at_the_deadline(web: Web, host: PictureHost, scheme: str = "http", **how: Any) -> None:
    """Fetch with little time; the host is left, and nothing that waits for it."""
    url = f"{scheme}://cats.example:{host.port}/"
    error = web.refused(url, errors.PictureHostTimeout, fetch_timeout_s=IMPATIENCE_S, **how)
    assert str(error) == (
        "The picture's host took longer than 0.5 seconds: "
        "try again, or use a picture from another host."
    )
    assert host.was_cut.wait(PATIENCE_S)
    wait_until(no_fetch_is_running)


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_host_is_left_at_the_deadline(web: Web, how: str) -> None:
    left_at_the_deadline(web, web.host(SLOW[how]))


def test_the_deadline_covers_the_look_up_of_the_host_and_connecting(web: Web) -> None:
    found = threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        found.wait(PATIENCE_S)
        return [(0, 0, 0, "", ("127.0.0.1", 0))]

    web.refuse(TimeoutError)
    web.refused("http://127.0.0.1/", errors.PictureHostTimeout)
    web.resolve(slow)
    web.refused("http://cats.example/", errors.PictureHostTimeout, fetch_timeout_s=IMPATIENCE_S)
    found.set()
    wait_until(no_fetch_is_running)
    assert web.tried == [("127.0.0.1", 80)]


def test_a_connection_made_after_the_deadline_is_closed_at_once(web: Web) -> None:
    host, late = web.host(silence), []

    def connect(*_: Any) -> socket.socket:
        time.sleep(IMPATIENCE_S * 2)
        late.append(socket.create_connection(("127.0.0.1", host.port)))
        return late[0]

    web.connect(connect)
    left_at_the_deadline(web, host)
    assert late[0].fileno() == -1
    assert host.requests == []


def test_a_read_that_times_out_by_itself_is_the_hosts_slowness(web: Web) -> None:
    web.patch.setattr(Attempt, "remaining_s", lambda _: 0.2)
    url = web.host(endless(OK + b"Content-Length: 9\r\n\r\n", b"x", 1)).url()
    web.refused(url, errors.PictureHostTimeout)


# Connections


def test_a_connection_is_kept_for_the_next_fetch_and_can_be_cut_at_its_deadline(web: Web) -> None:
    host = web.host(reply(), SLOW["drips its body"], reply())
    url = f"http://cats.example:{host.port}/"
    assert web.fetch(url, fetch_timeout_s=IMPATIENCE_S) == b"picture"
    left_at_the_deadline(web, host)
    assert host.connections == 1
    assert web.fetch(url, fetch_timeout_s=IMPATIENCE_S) == b"picture"


def test_a_kept_connection_that_the_host_closes_is_replaced(web: Web) -> None:
    # The second request on a connection finds it closing.
    host = web.host(lambda *asked: len(host.requests) != 2 and reply()(*asked))
    assert web.fetch(host.url()) == web.fetch(host.url()) == b"picture"
    assert host.connections == 2


# Redirects


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        *((location, b"/b") for location in ("/b", "b", "//127.0.0.1:PORT/b", "/b#part")),
        ("?b", b"/a?b"),
        ("/ü", b"/%C3%BC"),
        ("/\udcff", b"/%EF%BF%BD"),  # no UTF-8
        (r"\\127.0.0.1:PORT\b?c\d", b"/b?c%5Cd"),
        (r"/\127.0.0.1:PORT/b?c\d", b"/b?c%5Cd"),
        (r"http:\\127.0.0.1:PORT\b?c\d", b"/b?c%5Cd"),
    ],
)
def test_a_redirect_is_read_as_browsers_do(web: Web, location: str, asked: bytes) -> None:
    host = web.host()
    host.answers[:0] = [redirect(location.replace("PORT", str(host.port)))]
    assert web.fetch(host.url("/a")) == b"picture"
    assert host.requests[1].split()[1] == asked


def test_ten_redirects_of_any_status_are_followed_and_one_more_is_too_many(web: Web) -> None:
    other = web.host()
    statuses = [f"{status} Elsewhere" for status in (*REDIRECTS, *REDIRECTS)]
    assert len(statuses) == LIMIT_REDIRECTS
    steps = [redirect(f"/{status[:3]}", status) for status in statuses]
    assert web.fetch_from(*steps[1:], redirect(other.url("/there"))) == b"picture"
    assert other.requests[0].startswith(b"GET /there ")
    host = web.host(*steps, redirect("/again"))
    web.refused(host.url(), errors.PictureHostRefused, "more than 10 times: save the picture")
    assert len(host.requests) == LIMIT_REDIRECTS + 1


def test_a_host_that_sends_back_with_a_cookie_wants_cookies(web: Web) -> None:
    away, back = (reply(b"", "302 Go", f"Location: /{to}", "Set-Cookie: a=b") for to in "ba")
    assert web.fetch_from(away, reply()) == b"picture"
    host = web.host(away, back)
    sentence = "wants to set cookies, which are never kept"
    web.refused(host.url("/a"), errors.PictureHostRefused, sentence)
    assert len(host.requests) == 2


NO_WEB_ADDRESS = r"""
ftp://127.0.0.1/a file:///etc/passwd data:image/png;base64,AAAA javascript:alert(1)
http://[::1 http://user:word@127.0.0.1/ http://127.0.0.1:99999/ http://%zz/
""".split()  # noqa: SIM905 - as a list it takes a line for each
PRIVATE = r"""
http://10.0.0.1/ http://169.254.169.254/ http://127.0.0.2/ //[::1]/
\\10.0.0.1\x /\10.0.0.1/x http:\\10.0.0.1\x
""".split()  # noqa: SIM905 - as a list it takes a line for each


@pytest.mark.parametrize(
    ("location", "error", "sentence"),
    [
        *(
            (location, errors.PictureHostRefused, "The picture's host redirects")
            for location in ("", "http://\udcff\udcfe/", *NO_WEB_ADDRESS)
        ),
        *(
            (location, errors.AddressNotAllowed, "The host that the address redirects to has no")
            for location in PRIVATE
        ),
        (
            "http://cats.example:8080/",
            errors.InvalidUrl,
            "The picture's address uses or redirects to port 8080",
        ),
    ],
)
def test_a_redirect_is_checked_like_the_address(
    web: Web, location: str, error: type[errors.HttpError], sentence: str
) -> None:
    host = web.host(redirect(location))
    web.names["cats.example"] = [[PUBLIC]]
    web.lead_to(host)
    assert str(web.refused(host.url(), error)).startswith(sentence)
    assert web.tried == [("127.0.0.1", host.port)]


def test_the_body_of_a_redirect_is_not_read(web: Web) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n"
    host = web.host(endless(head, b"x" * 65536, 0), reply())
    assert web.fetch(host.url("/a")) == b"picture"
    assert host.was_cut.wait(PATIENCE_S)


# Addresses


NOT_PUBLIC = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0 0.0.0.0
%31%32%37.0.0.1 localhost 127.255.255.254
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255
169.254.169.254 0xA9FEA9FE 2852039166 169.254.1.1 100.100.100.200 192.0.0.192 168.63.129.16
192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255
[::] [::1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::7f00:1] [::a00:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:169.254.169.254]
[::ffff:0:7f00:1] [::ffff:0:127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1]
[64:ff9b:1::1.1.1.1] [64:ff9b::1:0:0] [64:ff9b:1::a00:1]
[2002:7f00:1::] [2001:0:7f00:1::] [2001:db8::1] [100::1]
[fc00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fec0::1] [feff::1]
[ff02::1] [3fff::1] [5f00::1]
[::2] [1::] [1::1] [::fffe:0:1] [::fffe:ffff:ffff] [::1:0:0:0]
[1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]
[4000::] [4000::1] [6000::1] [7fff:ffff::1] [8000::1] [a000::1] [c000::1] [e000::1] [f000::1]
""".split()  # noqa: SIM905 - as a list it takes a line for each
OTHER_SPELLINGS = ["１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "[fe80::1%25eth0]", "[::1%25lo]"]
NO_SCHEME = ["", "cats.example/cat.jpg", "//cats.example/cat.jpg", "ftp://cats.example/cat.jpg"]
NO_SCHEME += ["http:/cats.example/", "http:cats.example", "data:image/png;base64,AAAA"]
MALFORMED = r"""
http:// http:///cat.jpg http://:80/ http://cats.example:port/ http://cats.example:-1/
http://cats.example:65536/ http://[::1/ http://[cats.example]/ http://*.example/ http://.example/
http://cats..example/
""".split()  # noqa: SIM905 - as a list it takes a line for each
MALFORMED += [f"http://{'a' * 64}.example/", "http://\ud800.example/", "http://cats.example\0/"]
MALFORMED += ["http://cats .example/"]
PATHS = [r"C:\My Pictures\cat.jpg", "c:/cats/cat.jpg", r"\\server\share\cat.jpg", r"\cats\cat.jpg"]
PATHS += ["/home/cat.jpg", "./cat.jpg", r"..\cat.jpg", "~/cat.jpg", "file:///C:/my cat.jpg"]
WHO = ["user", "user:word", ":word", "user:", "1.1.1.1:80", "%40", "日本"]
NAMES = {
    "private.example": ["10.0.0.1"],
    "half.example": [PUBLIC, "10.0.0.1"],
    "here.example": ["::1", PUBLIC],
    "mapped.example": [PUBLIC, "::ffff:10.0.0.1"],
    "public.example": [PUBLIC],
}
# What is refused before anything is connected to, by what is said of it.
REFUSED: dict[tuple[type[errors.HttpError], str], list[str]] = {
    (
        errors.AddressNotAllowed,
        " has no public address: use a picture that anyone on the internet can open, or upload it.",
    ): [
        *(f"http://{host}/cat.jpg" for host in (*NOT_PUBLIC, *list(NAMES)[:-1])),
        *("https://127.0.0.1", "https://[::1]"),
    ],
    (errors.HttpError, ""): [f"http://{host}/cat.jpg" for host in OTHER_SPELLINGS],
    (errors.InvalidUrl, "must start with http:// or https://: paste"): NO_SCHEME,
    (errors.InvalidUrl, ": check "): MALFORMED,
    (errors.InvalidUrl, "works only inside the browser that made it: save"): [
        "blob:https://cats.example/1-2"
    ],
    (errors.InvalidUrl, "of a file on your own device: upload the file instead"): PATHS,
    (errors.InvalidUrl, "holds a user name or password"): [
        *(f"http://{who}@127.0.0.1/" for who in WHO),
        "HTTPS://user:word@127.0.0.1/",
    ],
}
for port in (1, 22, 79, 81, 442, 444, 8080, 65535):
    sentence = f"port {port}: pictures are fetched from ports 80 and"
    urls = [f"{scheme}://public.example:{port}/" for scheme in ("http", "https")]
    REFUSED[errors.InvalidUrl, sentence] = urls


@pytest.mark.parametrize(
    ("error", "sentence", "url"), [(*said, url) for said, urls in REFUSED.items() for url in urls]
)
def test_what_may_not_be_fetched_is_refused_and_named_and_nothing_is_connected_to(
    web: Web, error: type[errors.HttpError], sentence: str, url: str
) -> None:
    web.refuse()
    web.names |= {name: [addresses] for name, addresses in NAMES.items()}
    web.refused(url, error, sentence, allowed_addresses=())
    assert web.tried == []


# Addresses that are connected to, by the port.
ALLOWED = {
    80: r"""
http://cats.example/ http://cats.example:80/ https://cats.example:80/ http://1.1.1.1/
http://1.1.1.1\@10.0.0.1/ http://1.1.1.1#@10.0.0.1/ http://1.1.1.1?@10.1/
""",
    443: r"""
https://cats.example/ http://cats.example:443/ https://cats.example:443/ https://1.1.1.1/
https://[::ffff:1.1.1.1] https://[2606:4700::1111] https://[2000::] https://[64:ff9b::1.1.1.1]
https://[3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]
""",
}


@pytest.mark.parametrize(
    ("port", "url"), [(port, url) for port, urls in ALLOWED.items() for url in urls.split()]
)
def test_a_public_address_is_connected_to(web: Web, port: int, url: str) -> None:
    web.refuse()
    web.names["cats.example"] = [[PUBLIC]]
    web.refused(url, errors.PictureHostFailed, "cannot be reached", allowed_addresses=())
    assert [number for _, number in web.tried] == [port]


def test_a_name_that_changes_its_address_after_the_check_is_not_asked_again(web: Web) -> None:
    web.refuse()
    web.names["cats.example"] = [[PUBLIC], ["127.0.0.2"]]
    web.refused("http://cats.example/", errors.PictureHostFailed)
    assert web.tried == [(PUBLIC, 80)]
    web.refused("http://cats.example/", errors.AddressNotAllowed)


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
        ("64:ff9b::a00:0/127", "[64:ff9b::10.0.0.1]", "[64:ff9b::10.0.0.2]"),
    ],
)
def test_allowed_addresses_and_only_they_may_be_private_and_have_any_port(
    web: Web, allowed: str, passes: str, fails: str
) -> None:
    web.refuse()
    fetch = partial(web.refused, allowed_addresses=(allowed,))
    fetch(f"http://{passes}:8080/", errors.PictureHostFailed, "cannot be reached")
    assert [port for _, port in web.tried] == [8080]
    error = fetch(f"http://{fails}:8080/", errors.HttpError)
    assert isinstance(error, errors.AddressNotAllowed | errors.InvalidUrl)
    assert len(web.tried) == 1


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


HOST_LIKE = st.text("0123456789abcdefx.:[]%@\\/#?é。-")


@settings(deadline=None)
@given(st.builds("{}{}".format, st.sampled_from(["", "http://"]), st.text() | HOST_LIKE))
@example("http://[v1.a]/")
@example("http://[::1%]/")
def test_any_text_at_all_gives_a_deliberate_error(text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(errors.HttpError):
            fetcher(allowed_addresses=()).fetch(text)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for cats.example, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cats.example")])
    now, day = datetime.now(UTC), timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.DNSName("cats.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(pem))
    return file


@pytest.fixture
def secure(certificate: Path, web: Web) -> PictureHost:
    """Return a host that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return web.host(tls=context)


def test_a_self_signed_certificate_is_refused(web: Web, secure: PictureHost) -> None:
    sentence = "is signed by nobody but the host itself: save"
    web.refused(f"https://cats.example:{secure.port}/", errors.PictureHostRefused, sentence)
    assert secure.requests == []


@pytest.mark.parametrize("is_operators_own", [True, False])
def test_a_trusted_certificate_passes_for_its_own_name_only(
    web: Web, certificate: Path, secure: PictureHost, is_operators_own: bool
) -> None:
    how: dict[str, Any] = {"ssl_cert_file": certificate}  # beside the usual ones
    if not is_operators_own:
        how = {"fetch_contact": "its own fetcher"}
        web.patch.setattr(certifi, "where", lambda: str(certificate))
    for _ in range(2):
        assert web.fetch(f"https://cats.example:{secure.port}/", **how) == b"picture"
    assert secure.connections == 1
    assert f"\r\nHost: cats.example:{secure.port}\r\n".encode() in secure.requests[0]
    for host, other in (("dogs.example", "name"), ("127.0.0.1", "address")):
        sentence = f"its certificate belongs to another {other}"
        url = f"https://{host}:{secure.port}/"
        web.refused(url, errors.PictureHostRefused, sentence, **how)


def test_a_slow_host_is_left_over_tls_too(web: Web, certificate: Path, secure: PictureHost) -> None:
    silent = web.host(silence)
    left_at_the_deadline(web, silent, "https")
    assert silent.requests == []
    secure.answers = [SLOW["drips its body"]]
    left_at_the_deadline(web, secure, "https", ssl_cert_file=certificate)


def test_a_host_without_tls_is_the_hosts_failure(web: Web) -> None:
    ours, theirs = socket.socketpair()
    web.connect(lambda *_: ours)
    with theirs:
        theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sentence = "it does not answer in TLS as it should"
        web.refused("https://127.0.0.1/", errors.PictureHostFailed, sentence)
