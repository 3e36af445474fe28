"""The process that computes with one copy of a model: ``python -m imgserve.models.worker FD...``.

Each descriptor is one end of a pair of sockets, over which it is asked one thing after the other;
so many can be computed at once. It ends when the other ends are closed. Started by ``copy.py``.
"""

import logging
import logging.config
import socket
import sys
import threading
from contextlib import suppress

from imgserve.contract import PredictOptions
from imgserve.errors import HttpError, ImgserveError
from imgserve.log import logging_config
from imgserve.models.local import load_here
from imgserve.models.malloc import share_one_heap
from imgserve.models.model import Model
from imgserve.models.wire import (
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

log = logging.getLogger("imgserve.models.worker")


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


if __name__ == "__main__":
    share_one_heap()
    sys.exit(main([socket.socket(fileno=int(number)) for number in sys.argv[1:]]))
