"""The process that computes with one copy of a model: ``python -m imgserve.compute FD...``.

Each descriptor is one end of a pair of sockets, over which it is asked one thing after the other;
so many can be computed at once. It ends when the other ends are closed. Started by ``copy.py``.
"""

import ctypes
import logging
import logging.config
import socket
import sys
import threading
from contextlib import suppress

from imgserve.compute.local import load_here
from imgserve.compute.model import Model
from imgserve.compute.wire import (
    Compute,
    Done,
    Fault,
    Head,
    Load,
    Loaded,
    Refused,
    receive,
    send,
)
from imgserve.contract import PredictOptions
from imgserve.errors import HttpError, ImgserveError
from imgserve.log import logging_config

log = logging.getLogger("imgserve.compute")

M_ARENA_MAX = -8  # of glibc's malloc.h


def main(lanes: list[socket.socket]) -> int:
    """Load what is asked for, then compute until nobody asks any more; return the exit status."""
    asked, _ = receive(lanes[0])
    assert isinstance(asked, Load), "the first message says what to load"  # noqa: S101
    logging.config.dictConfig(logging_config(asked.settings.log_level))
    try:
        model = load_here(asked.settings, asked.model)
    except ImgserveError as exc:
        with suppress(OSError):  # the backend has ended
            send(lanes[0], Refused(str(exc)))
        return 1
    with suppress(OSError):  # likewise: then there is nothing to serve
        send(lanes[0], Loaded())
    for lane in lanes[1:]:
        threading.Thread(target=_serve, args=(lane, model), daemon=True).start()
    _serve(lanes[0], model)
    return 0


def _serve(lane: socket.socket, model: Model) -> None:
    try:
        while True:
            asked, data = receive(lane)
            assert isinstance(asked, Compute), "what follows asks for pictures"  # noqa: S101
            send(lane, _answer(model, asked, data))
    except OSError:
        return  # the backend has ended


def _answer(model: Model, asked: Compute, data: bytes) -> Head:
    options = PredictOptions(top_k=asked.top_k, thumbnail=asked.thumbnail)
    try:
        return Done(model.compute(data, options))
    except HttpError as exc:
        return Refused(str(exc), exc.slug)
    except Exception:
        log.exception("a picture could not be classified")
        return Fault()


def share_one_heap() -> None:
    """Let all threads have one heap: glibc gives each its own, up to eight for each core.

    For the few threads of a copy one is as fast, and takes 8 MB less (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(M_ARENA_MAX, 1)


if __name__ == "__main__":
    share_one_heap()
    sys.exit(main([socket.socket(fileno=int(number)) for number in sys.argv[1:]]))
