"""Addresses that lead inside, however they are written, redirected to or resolved."""

import argparse
import http.server
import ipaddress
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import msgspec
from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from imgserve.contract import PREDICT
from tools.attack.target import Row, Target, backend, post, tally
from tools.process import LOOPBACK, Failed

NAME_SERVER, ALLOWED, PUBLIC = "127.0.0.53", "127.0.0.2", "93.184.215.14"
# Ourselves, three private networks, the metadata server, a carrier's network, all of ours.
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1"),
    *("169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
)
OTHERS = (
    *("localhost/", "LOCALHOST./", "[::1]/", "[::]/", "[fe80::1]/", "[fd00::1]/", "[::1%25lo]/"),
    *("127.0.0.1:80\\@example.com/", "example.com@127.0.0.1/", "/127.0.0.1/"),
)


class Inside(http.server.BaseHTTPRequestHandler):
    """A web server inside, which should hear nothing; one that may be asked redirects inside."""

    heard: ClassVar = Counter[str]()  # how often, by the address that was asked
    redirects: ClassVar = dict[str, str]()  # where to, by path

    def do_GET(self) -> None:
        self.heard[self.connection.getsockname()[0]] += 1
        target = self.redirects.get(self.path, "")
        self.send_response(http.HTTPStatus.FOUND if target else http.HTTPStatus.OK)
        self.send_header("Location", target.encode().decode("latin-1"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Rebinding(BaseResolver):  # type: ignore[misc]  # dnslib has no types
    """Says that every name is public when it is first asked, and inside from then on."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def resolve(self, request: DNSRecord, _: object) -> DNSRecord:
        reply, name = request.reply(), str(request.q.qname)
        if request.q.qtype == QTYPE.A:
            self.asked[name] += 1
            kinds = {"inside": [LOOPBACK], "both": [PUBLIC, LOOPBACK]}
            turns = [PUBLIC if self.asked[name] % 2 else LOOPBACK]
            for address in kinds.get(name.partition("-")[0], turns):
                reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=0))
        return reply


def spellings() -> Iterator[str]:
    """Yield private addresses as URLs, in all forms that some program reads as such."""
    for address in map(ipaddress.IPv4Address, PRIVATE):
        for form in _forms(address):
            yield f"http://{form}/"
            yield f"http://user:word@{form}/"
    yield from (f"http://{form}" for form in OTHERS)
    yield from ("file:///etc/passwd", "gopher://127.0.0.1/", "http:127.0.0.1", "//127.0.0.1/")


def _forms(address: ipaddress.IPv4Address) -> Iterator[str]:
    text, number = str(address), int(address)
    parts = [int(part) for part in text.split(".")]
    halves = f"{number >> 16:x}:{number & 0xFFFF:x}"
    yield from (text, f"{text}.", str(number), hex(number), f"0{number:o}")
    yield ".".join(f"0{part:o}" for part in parts)
    yield ".".join(map(hex, parts))
    yield from (f"{parts[0]}.{number & 0xFFFFFF}", f"{parts[0]}.{parts[1]}.{number & 0xFFFF}")
    yield text.replace(".", "\u3002")  # an ideographic full stop
    yield "".join(chr(0xFEE0 + ord(char)) if char.isdigit() else char for char in text)
    yield from (f"[::ffff:{text}]", f"[::ffff:{halves}]", f"[64:ff9b::{text}]")
    yield from (f"[2002:{halves}::]", f"[::{text}]")


def run(_: argparse.Namespace) -> Iterator[Row]:
    """Yield what servers inside heard."""
    if os.geteuid() or not shutil.which("unshare"):
        yield Row("left out: needs root on Linux", "0", "not tried", "", True)
        return
    with ExitStack() as stack:
        for host in (LOOPBACK, ALLOWED):
            server = stack.enter_context(http.server.ThreadingHTTPServer((host, 80), Inside))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        quiet = DNSLogger("-request,-reply,-truncated,-error")
        names = DNSServer(Rebinding(), address=NAME_SERVER, port=53, logger=quiet)
        names.start_thread()
        stack.callback(names.stop)
        prefix = _with_name_server(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        environ = {"ALLOWED_ADDRESSES": f"{ALLOWED}/32", "FETCH_TIMEOUT_S": "2"}
        target = stack.enter_context(backend(prefix, **environ))
        addresses = [*spellings()]
        yield _row(target, "spelt in every way", addresses)
        Inside.redirects |= {f"/to/{number}": url for number, url in enumerate(addresses)}
        redirects = [f"http://{ALLOWED}{path}" for path in Inside.redirects]
        yield _row(target, "redirected to by a host that may be asked", redirects)
        if not Inside.heard[ALLOWED]:
            raise Failed("the host that may be asked was not asked")
        kinds = ("inside", "both", "turns")
        urls = [f"http://{kind}-{number}.test/" for kind in kinds for number in range(20)] * 2
        yield _row(target, "names that resolve inside, also or later", urls)


def _with_name_server(folder: Path) -> tuple[str, ...]:
    """Return what runs a command where names are resolved by ours."""
    conf = folder / "resolv.conf"
    conf.write_text(f"nameserver {NAME_SERVER}\noptions attempts:1 timeout:1\n", encoding="ascii")
    script = f'mount --bind "{conf}" /etc/resolv.conf && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def _row(target: Target, what: str, urls: list[str]) -> Row:
    before = Inside.heard[LOOPBACK]
    bodies = (msgspec.json.encode({"url": url}) for url in urls)
    found = target.answers(post(PREDICT, body, "application/json") for body in bodies)
    heard = Inside.heard[LOOPBACK] - before
    is_held = not heard and {*found} <= {400, 422, 502, 504}
    return Row(what, str(len(urls)), f"{tally(found)}; heard inside: {heard}", "nothing", is_held)
