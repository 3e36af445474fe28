"""A metadata server on a loopback address that gives unsigned ID tokens."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import Quiet, served

PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def token(**claims: Any) -> str:
    """Return a token with these claims that nobody signed."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b""))


def claims_of(header: str) -> Any:
    """Return what the token of an ``Authorization`` header says."""
    scheme, _, given = header.partition(" ")
    assert scheme == "Bearer"
    payload = given.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@dataclass
class MetadataServer:
    """The part of a metadata server that gives ID tokens.

    Attributes:
        host: its address.
        audiences: of every token that was asked for.
        lifetime_s: of the tokens from now on.
        delay_s: before each answer.
        status: of each answer.
        instead: answered in the place of a token, if not empty.
    """

    host: str = ""
    audiences: list[str] = field(default_factory=list)
    lifetime_s: float = 3600.0
    delay_s: float = 0.0
    status: int = 200
    instead: str = ""

    def answer(self, path: str, flavor: str | None) -> tuple[int, str]:
        url = urlsplit(path)
        if url.path != PATH or flavor != "Google":
            return 403, "not as a metadata server is asked"
        query = parse_qs(url.query)
        assert query["format"] == ["full"]
        self.audiences += query["audience"]
        time.sleep(self.delay_s)
        number, expires = len(self.audiences), int(time.time() + self.lifetime_s)
        return self.status, self.instead or token(aud=query["audience"][0], exp=expires, jti=number)


@contextmanager
def metadata_server() -> Iterator[MetadataServer]:
    """Have a metadata server until the end of the block."""
    made = MetadataServer()

    class Handler(Quiet):
        def respond(self) -> None:
            status, body = made.answer(self.path, self.headers["Metadata-Flavor"])
            google = {"Metadata_Flavor": "Google", "Content_Type": "text/plain"}
            self.answer(status, body.encode(), **google)

    with served(Handler) as origin:
        made.host = origin.removeprefix("http://")
        yield made
