"""The server of a backend, on loopback, with a clock that the tests set."""

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from flask import Response, request

from imgserve.backend import connection, server
from imgserve.backend.admission import Admission, Held
from imgserve.backend.app import make_app
from imgserve.backend.connection import HEAD_S, LINGER_S, STALLED_S
from imgserve.backend.incoming import HEAD_BYTES, PIPELINED
from imgserve.errors import Busy
from imgserve.settings import BackendSettings
from imgserve.units import MIB
from tests.unit import pictures
from tests.unit.pool_stand_in import Gate, PoolStandIn, classifier
from tests.unit.waiting import wait_until

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = HELLO.replace(b"hello", b"slow")
LONG = HELLO.replace(b"hello", b"long")
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
PICTURE = pictures.path("no_time_for_that_tiny.gif").read_bytes()
PREDICT = POST % len(PICTURE) + PICTURE
THREADS, MOST = 8, 10  # of a server: those that answer, and connections
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
# Its plugin, which comes with schemathesis, runs the coroutines among the tests.
pytestmark = pytest.mark.anyio


class Caller:
    """A connection from the outside."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.transport: Any = writer.transport
        self.stop_sending = writer.write_eof
        self.close = writer.close

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each by itself."""
        async with asyncio.timeout(20):
            for piece in pieces:
                self._writer.write(piece)
                await self._writer.drain()
                await asyncio.sleep(0.01)

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Return the next answer: status, headers, body."""
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = int(headers.get("Content-Length", 0)) if has_body else 0
            body = await self._reader.readexactly(size)
        return int(first.split()[1]), headers, body

    async def asked(self, *pieces: bytes) -> tuple[int, bytes]:
        """Return what a request is answered: status, body."""
        await self.send(*pieces)
        status, _, body = await self.answer()
        return status, body

    async def refusal(self, status: int, slug: str) -> None:
        """Take an answer that must be this problem, and the connection's last."""
        given, headers, body = await self.answer()
        problem = json.loads(body)
        assert (given, problem["type"]) == (status, f"urn:imgserve:problem:{slug}")
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["X-Request-Id"] == problem["request_id"]
        assert (headers.get("Retry-After") is not None) == (status == 503)
        await self.end(headers)

    async def end(self, headers: dict[str, str] | None = None) -> None:
        """Take the end, which these headers, else those of the next answer, have announced."""
        headers = headers or (await self.answer())[1]
        assert headers["Connection"] == "close"
        assert await self.rest() == b""

    async def rest(self) -> bytes:
        """Return what comes until the connection ends."""
        return await asyncio.wait_for(self._reader.read(), 20)


class Site:
    """A server that runs, and its clock.

    It serves v1 around a model that answers at once, or when its gate is open.
    """

    def __init__(self, **settings: Any) -> None:
        self.gate = Gate()
        self.gate.opened.set()
        models = {"small": classifier(["cat", "dog", "bird"], self._respond)}
        given = BackendSettings(**{"threads": 1, "max_queue": 0, **settings})
        self.app = app = make_app(given, PoolStandIn(models, slots=threading.Semaphore(1)))
        size = {"Content-Length": "5000000"}
        app.add_url_rule(
            "/long", "long", lambda: Response(map(bytes, [50_000] * 100), headers=size)
        )
        app.add_url_rule("/path/<path:path>", "path", lambda path: {**request.args, "path": path})
        app.add_url_rule("/headers", "headers", lambda: dict(request.headers))
        app.add_url_rule("/slow", "slow", lambda: time.sleep(0.3) or "done")
        self.connections = server.connections_to(app, THREADS)
        self.passed_s = 0.0
        loop = asyncio.get_running_loop()
        self.connections.now_s = lambda: loop.time() + self.passed_s
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.all_callers: list[Caller] = []

    def _respond(self, _: object) -> np.ndarray:
        self.gate.pass_through()
        return np.array([[0.2, 0.7, 0.1]], dtype=np.float32)

    async def caller(self, address: str = "127.0.0.1") -> Caller:
        own = self.socket.getsockname()
        streams = await asyncio.open_connection(*own, local_addr=(address, 0))
        self.all_callers.append(Caller(*streams))
        return self.all_callers[-1]

    async def callers(self, count: int) -> list[Caller]:
        return [await self.caller() for _ in range(count)]

    @property
    def open(self) -> int:
        return len(self.connections.all)

    async def let_pass(self, seconds: float) -> None:
        """Let time pass for the server, and what is due be done."""
        await asyncio.sleep(0.02)
        self.passed_s += seconds
        self.connections.sweep()
        await asyncio.sleep(0.02)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def site(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """Return a server, with the settings that the test is parametrized with."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", MOST)
    running = Site(**getattr(request, "param", {}))
    listener = await server.listen(running.connections, running.socket, 100)
    yield running
    listener.close()
    for caller in running.all_callers:
        caller.close()
    await asyncio.to_thread(wait_until, lambda: not running.open)


# --- what HTTP is -----------------------------------------------------------------------------


INVALID, CODING, LARGE = "invalid-request", "unsupported-transfer-encoding", "picture-too-large"


@pytest.mark.parametrize(
    ("pieces", "status", "slug"),
    [
        ([b"nonsense\r\n\r\n"], 400, INVALID),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400, INVALID),
        ([b"GET /hello HTTP/1.1\r\n\r\n"], 400, INVALID),
        ([b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"], 400, INVALID),
        ([b"GET /hello HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"], 400, INVALID),
        ([b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n"], 400, INVALID),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"], 400, INVALID),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"], 400, INVALID),
        ([(POST % 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n")], 400, INVALID),
        ([CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n")], 400, INVALID),
        ([CHUNKED.replace(b"chunked", b"gzip")], 501, CODING),
        ([CHUNKED.replace(b"chunked", b"x, chunked")], 501, CODING),
        ([CHUNKED, b"ZZ\r\nabc\r\n"], 400, INVALID),
        ([CHUNKED, b"-5\r\nabc\r\n"], 400, INVALID),
        ([CHUNKED, b"3\r\nabcX"], 400, INVALID),
        ([CHUNKED, (b"1;" + b"e" * 999 + b"\r\nx\r\n") * 1200], 400, INVALID),
        ([CHUNKED, b"100000\r\n" + bytes(2**20)], 413, LARGE),
        ([POST % 10**9], 413, LARGE),
        ([b"GET /" + b"a" * HEAD_BYTES], 431, "head-too-large"),
        ([b"GET /hello HTTP/1.1\r\nA: ", b"b" * HEAD_BYTES, b"b"], 431, "head-too-large"),
        ([b"GET / HTTP/1.1\r\n" + b"A: bbbbbbbbbb\r\n" * 4000], 431, "head-too-large"),
    ],
)
@pytest.mark.parametrize("site", [{"max_image_bytes": MIB // 2}], indirect=True)
async def test_what_cannot_be_read_is_a_problem_and_the_end_of_the_connection(
    site: Site, pieces: list[bytes], status: int, slug: str
) -> None:
    caller = await site.caller()
    await caller.send(*pieces)
    await caller.refusal(status, slug)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (HELLO, "keep-alive"),
        (b"GET http://x.example/hello HTTP/1.1\r\nHost: x\r\n\r\n", "keep-alive"),
        (b"GET /he%6Clo?a=b#c HTTP/1.1\r\nHost: x\r\n\r\n", "keep-alive"),
        (b"GET /hello HTTP/1.0\r\n\r\n", "close"),
        (HELLO[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "close"),
        (
            b"\r\n" + HELLO[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
            "keep-alive",
        ),
    ],
)
async def test_a_request_is_answered_in_whatever_pieces_it_comes(
    site: Site, asked: bytes, kept: str, is_whole: bool
) -> None:
    caller = await site.caller()
    await caller.send(*([asked] if is_whole else [bytes([byte]) for byte in asked]))
    status, headers, body = await caller.answer()
    assert (status, body) == (200, b'"Hello!"')
    assert {"Date", "Server", "X-Request-Id", "Content-Type"} <= set(headers)
    assert headers["Connection"] == kept


async def test_path_query_and_headers_arrive_as_they_were_sent(site: Site) -> None:
    caller = await site.caller()
    _, body = await caller.asked(HELLO.replace(b"hello", b"path/a%20%C3%A9/b?c=d%26e"))
    assert json.loads(body) == {"c": "d&e", "path": "a é/b"}
    head = b"Host: x\r\nA-B: 1\r\na-b: 2\r\nA_B: 3\r\nCookie: c=1\r\nCookie: d=2\r\n\r\n"
    _, body = await caller.asked(b"GET /headers HTTP/1.1\r\n" + head)
    assert json.loads(body) == {"Host": "x", "A-B": "1,2", "Cookie": "c=1; d=2"}


async def test_a_head_has_no_body(site: Site) -> None:
    caller = await site.caller()
    await caller.send(HELLO.replace(b"GET", b"HEAD") + HELLO)
    _, headers, _ = await caller.answer(has_body=False)
    assert headers["Content-Length"] == "8"
    assert (await caller.answer())[2] == b'"Hello!"'


async def test_requests_sent_ahead_are_answered_in_turn_up_to_a_limit(site: Site) -> None:
    caller = await site.caller()
    ahead = (HELLO.replace(b"hello", b"path/%d" % number) for number in range(1000))
    await caller.send(b"".join(ahead))
    for number in range(PIPELINED - 1):
        assert json.loads((await caller.answer())[2])["path"] == str(number)
    await caller.end()


@pytest.mark.parametrize("cut", [9, len(HELLO) - 1, len(HELLO)])
async def test_what_comes_during_an_answer_goes_on_where_it_was_cut_also_if_it_is_the_last(
    site: Site, cut: int
) -> None:
    caller = await site.caller()
    await caller.send(SLOW + HELLO[:cut], HELLO[cut:] + SLOW)
    caller.stop_sending()
    assert [(await caller.answer())[2] for _ in range(2)] == [b"done", b'"Hello!"']
    _, headers, body = await caller.answer()
    assert body == b"done"
    await caller.end(headers)


async def test_what_follows_the_last_request_keeps_nobody_from_its_answer(site: Site) -> None:
    caller = await site.caller()
    await caller.send(HELLO.replace(b"1.1", b"1.0") + HELLO, HELLO, HELLO)
    _, headers, body = await caller.answer()
    assert body == b'"Hello!"'
    await caller.end(headers)


async def test_a_caller_that_waits_to_be_told_is_told_to_send_its_body(site: Site) -> None:
    caller = await site.caller()
    await caller.send((POST % 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert (await caller.answer())[0] == 100
    assert (await caller.asked(b"12345"))[0] == 415


async def test_an_application_that_fails_is_answered_500_and_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.app.wsgi_app = {}.__getitem__  # type: ignore[assignment]  # which takes one argument
    caller = await site.caller()
    await caller.send(HELLO)
    status, headers, body = await caller.answer()
    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert b"argument" not in body
    assert "takes exactly one argument" in caplog.text


# --- deadlines --------------------------------------------------------------------------------


async def test_silence_ends_a_connection_without_a_word(site: Site) -> None:
    silent, kept = await site.callers(2)
    await kept.asked(HELLO)
    await site.let_pass(HEAD_S + 1)
    assert await silent.rest() == b""
    await site.let_pass(connection.IDLE_S - HEAD_S - 2)
    assert site.open == 1
    await site.let_pass(2)
    assert await kept.rest() == b""


@pytest.mark.parametrize(
    ("start", "pause_s", "limit_s"),
    [
        (b"GET /hello HTTP/1.1\r\nA: ", 1, HEAD_S),
        (POST % 1000, STALLED_S + 1, STALLED_S),
        (POST % 1000, STALLED_S - 2, connection.BODY_S),
        (CHUNKED + b"100\r\n", STALLED_S - 2, connection.BODY_S),
    ],
)
async def test_a_head_and_a_body_have_a_time_limit_however_they_drip_and_take_no_thread(
    site: Site, start: bytes, pause_s: float, limit_s: float
) -> None:
    honest, *slow = await site.callers(2 + THREADS)
    for caller in slow:
        await caller.send(start)
    assert (await honest.asked(PREDICT))[0] == 200
    honest.close()
    while site.passed_s + pause_s < limit_s:
        await site.let_pass(pause_s)
        await caller.send(b"a")
    await site.let_pass(pause_s)
    await caller.refusal(408, "request-timeout")
    await site.let_pass(LINGER_S + 1)
    assert site.open == 0


async def test_a_long_answer_waits_for_its_caller_a_while_and_piece_by_piece(site: Site) -> None:
    slow, lost = await site.callers(2)
    for caller in (slow, lost):
        caller.transport.pause_reading()
        await caller.send(LONG)
    await site.let_pass(connection.SENDING_S - 10)
    slow.transport.resume_reading()
    assert len((await slow.answer())[2]) == 5_000_000
    assert (await slow.asked(HELLO))[0] == 200
    await site.let_pass(11)
    assert site.open == 1


@pytest.mark.parametrize("stops_sending", [False, True])
async def test_who_does_not_take_the_end_of_an_answer_is_cut_off_too(
    site: Site, stops_sending: bool
) -> None:
    """The server has written it already, to a buffer that only the caller can empty."""
    site.app.add_url_rule("/end", "end", lambda: bytes(5_000_000))
    caller = await site.caller()
    caller.transport.pause_reading()
    await caller.send(HELLO.replace(b"hello", b"end"))
    if stops_sending:
        caller.stop_sending()
    await site.let_pass(max(connection.IDLE_S, connection.SENDING_S) + 1)
    assert site.open == 0


# --- more than there is room for --------------------------------------------------------------


@pytest.mark.parametrize("site", [{"max_queue": 1}], indirect=True)
async def test_a_full_queue_refuses_a_body_early_and_lets_its_sender_read_that(site: Site) -> None:
    first, second, large, small = await site.callers(4)
    site.gate.opened.clear()
    await first.send(PREDICT)
    await asyncio.to_thread(site.gate.came.wait, 10)
    await second.send(PREDICT)
    await asyncio.to_thread(wait_until, lambda: site.connections.admission.inside == 2)
    await small.send(PREDICT)
    status, headers, _ = await small.answer()
    assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "keep-alive")
    assert (await small.asked(HELLO.replace(b"hello", b"ready")))[0] == 200
    _, metrics = await small.asked(HELLO.replace(b"hello", b"metrics"))
    assert b"\nimgserve_queue_requests 1.0\n" in metrics
    assert b"\nimgserve_inferences_in_progress 1.0\n" in metrics
    await large.send(POST % 5_000_000, bytes(100_000))
    await large.send(*[bytes(100_000)] * 49)  # and is not reset meanwhile
    await large.refusal(503, "busy")
    site.gate.opened.set()
    for caller in (first, second):
        assert (await caller.answer())[0] == 200
    assert (await small.asked(PREDICT))[0] == 200


@pytest.mark.parametrize("sent", [0, 3_000_000])
@pytest.mark.parametrize("site", [{"max_image_bytes": MIB}], indirect=True)
async def test_who_sends_on_and_on_after_a_refusal_is_cut_off(site: Site, sent: int) -> None:
    caller = await site.caller()
    assert (await caller.asked(POST % 10**9))[0] == 413
    while site.open and site.passed_s < 2 * connection.LINGER_IN_ALL_S:
        with contextlib.suppress(ConnectionError):
            await caller.send(bytes(sent) or b"a")
        await site.let_pass(LINGER_S - 1)
    most_s = LINGER_S if sent else connection.LINGER_IN_ALL_S + LINGER_S
    assert site.passed_s <= most_s


@pytest.mark.parametrize("site", [{"picture_memory_mb": 1, "max_image_bytes": MIB}], indirect=True)
async def test_bodies_under_way_fit_into_memory_and_the_slowest_gives_way(site: Site) -> None:
    slow, early, late = await site.callers(3)
    await slow.send(POST % MIB + bytes(MIB - 1))
    await asyncio.to_thread(wait_until, lambda: site.connections.admission.held_bytes == MIB - 1)
    await early.send(POST % MIB)
    await early.refusal(503, "busy")
    await site.let_pass(connection.PATIENCE_S + 1)
    assert (await late.asked(PREDICT))[0] == 200
    await late.send(POST % MIB + bytes(MIB))
    await slow.refusal(503, "busy")
    assert (await late.answer())[0] == 415
    assert site.connections.admission.held_bytes == 0


@pytest.mark.parametrize(
    "site", [{"picture_memory_mb": 1, "max_image_bytes": MIB // 2}], indirect=True
)
async def test_the_slowest_body_is_refused_where_nobody_else_is_to_blame(site: Site) -> None:
    waiting, slow = await site.callers(2)
    Held(site.connections.admission).require(MIB // 2)
    await waiting.send(POST % 9)
    await slow.send(POST % (MIB // 2) + bytes(9))
    await site.let_pass(connection.PATIENCE_S + 1)
    assert (await waiting.asked(bytes(9)))[0] == 415
    Held(site.connections.admission).require(9)
    await slow.send(bytes(MIB // 2 - 9))
    await slow.refusal(503, "busy")


@pytest.mark.parametrize("site", [{"picture_memory_mb": 1, "max_image_bytes": MIB}], indirect=True)
async def test_a_body_without_a_length_is_refused_where_memory_ends(site: Site) -> None:
    first, second = await site.callers(2)
    await first.send(POST % MIB + bytes(MIB - 1))
    await second.send(CHUNKED + b"80000\r\n", bytes(0x80000))
    await second.refusal(503, "busy")
    assert site.connections.admission.held_bytes == MIB - 1
    first.close()
    await site.let_pass(0)
    assert site.connections.admission.held_bytes == 0


async def test_of_too_many_connections_one_of_the_caller_with_most_is_closed(site: Site) -> None:
    busy, sending = await site.callers(2)
    await busy.send(SLOW)
    await sending.send(POST % 9)
    honest = await site.caller("127.0.0.2")
    many = await site.callers(MOST + 1)
    assert (await honest.asked(HELLO))[0] == 200
    assert [await one.rest() for one in many[:4]] == [b""] * 4
    for one in many[4:]:
        assert (await one.asked(HELLO))[0] == 200
    assert (await sending.asked(bytes(9)))[0] == 415
    assert (await busy.answer())[2] == b"done"


async def test_who_does_not_take_a_long_answer_gives_way_to_others(site: Site) -> None:
    for slow in await site.callers(MOST):
        slow.transport.pause_reading()
        await slow.send(LONG)
    for _ in range(MOST):
        assert (await (await site.caller()).asked(HELLO))[0] == 200
    assert site.open == MOST


@pytest.mark.parametrize(("files", "connections"), [(100, 20), (1024, 664), (10**6, 2048)])
def test_connections_leave_files_to_fetches(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, files))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    assert server.connection_limit(20) == connections
    assert given == [(files, files)]


# --- the end ----------------------------------------------------------------------------------


async def test_the_last_answer_on_each_connection_says_so_and_an_idle_one_ends(site: Site) -> None:
    under_way, kept, idle, sending = await site.callers(4)
    await under_way.send(SLOW)
    for caller in (kept, idle):
        await caller.send(HELLO)
        assert (await caller.answer())[1]["Connection"] == "keep-alive"
    await sending.send(POST % 9)
    drained = asyncio.create_task(server.drain(site.connections, limit_s=8))
    await asyncio.sleep(0.1)
    await kept.send(HELLO)
    await kept.end()
    await under_way.end()
    assert site.open == 2
    await site.let_pass(server.LAST_REQUEST_S)
    assert await idle.rest() == b""
    assert not drained.done()
    await sending.send(bytes(9))
    await sending.end()
    await drained


async def test_the_end_waits_for_nobody_longer_than_it_may(site: Site) -> None:
    caller = await site.caller()
    await caller.send(POST % 9)
    drained = asyncio.create_task(server.drain(site.connections, limit_s=8))
    await site.let_pass(8)
    await drained
    assert site.open == 1


# --- what admission counts --------------------------------------------------------------------


def test_bytes_are_held_up_to_a_limit_and_given_back_for_good_also_after_an_error() -> None:
    admission = Admission(1, 100_000, picture_bytes=0)
    with pytest.raises(Busy, match="take 100000 bytes"), admission.admitted() as held:
        list(map(held.require, (60_000, 40_000, 1)))
    assert (admission.inside, admission.held_bytes) == (0, 0)
    with pytest.raises(Busy):  # a fetch that outlives its request
        held.require(1)
