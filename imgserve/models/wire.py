"""What a backend and the processes that compute for it say to each other, over a pair of sockets.

A message is a head, one of the structs below in MessagePack, and a body, a picture's file or
nothing. Both sides are of one version and one container: nothing here comes from outside but the
picture.
"""

import socket
import struct
from typing import Any

import msgspec

from imgserve.models.model import Computed
from imgserve.settings import BackendSettings

LENGTHS = struct.Struct("!II")  # of the head and the body, bytes


class Load(msgspec.Struct, tag=True, frozen=True):
    """Load a model; the answer is Loaded or Refused."""

    model: str
    settings: BackendSettings


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The model can compute."""


class Compute(msgspec.Struct, tag=True, frozen=True):
    """Say what is on the picture in the body; the answer is Done, Refused or Fault."""

    top_k: int
    thumbnail: bool


class Done(msgspec.Struct, tag=True, frozen=True):
    """What was computed."""

    computed: Computed


class Refused(msgspec.Struct, tag=True, frozen=True):
    """A deliberate error; ``slug`` names its class where that is an HttpError."""

    detail: str
    slug: str = ""


class Fault(msgspec.Struct, tag=True, frozen=True):
    """An error that nobody foresaw; the other side has logged it."""


Head = Load | Loaded | Compute | Done | Refused | Fault


def _from_text(kind: type, text: Any) -> Any:
    return kind(text)  # paths, which msgspec leaves to us


ENCODER = msgspec.msgpack.Encoder(enc_hook=str)
DECODER = msgspec.msgpack.Decoder(Head, dec_hook=_from_text)


def send(to: socket.socket, head: Head, body: bytes = b"") -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    encoded = ENCODER.encode(head)
    to.sendall(LENGTHS.pack(len(encoded), len(body)) + encoded)
    if body:
        to.sendall(body)


def receive(source: socket.socket) -> tuple[Head, bytes]:
    """Return the next message, head and body.

    Raises:
        OSError: the other side is gone.
    """
    head_bytes, body_bytes = LENGTHS.unpack(_exactly(source, LENGTHS.size))
    head = DECODER.decode(_exactly(source, head_bytes))
    return head, bytes(_exactly(source, body_bytes))


def _exactly(source: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = source.recv_into(rest)
        if not count:
            raise ConnectionResetError("the other process is gone")
        rest = rest[count:]
    return data
