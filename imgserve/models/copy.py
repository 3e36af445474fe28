"""One copy of a model, in a process of its own."""

import socket
import subprocess
import sys

from imgserve.contract import PredictOptions
from imgserve.errors import HttpError, ModelError, NotReady
from imgserve.models.model import Computed
from imgserve.models.wire import Compute, Done, Head, Load, Loaded, Refused, receive, send
from imgserve.settings import BackendSettings

REFUSALS = {error.slug: error for error in HttpError.__subclasses__()}


class Copy:
    """A process that loads a model and computes with it, and a socket for each picture at once.

    Attributes:
        lanes: our ends of the sockets; each is asked one thing after the other.
        is_lost: whether it was found to have ended.
    """

    def __init__(self, settings: BackendSettings, model_id: str, *, lanes: int) -> None:
        """Start the process; ``settings.threads`` will compute one inference."""
        pairs = [socket.socketpair() for _ in range(lanes)]
        self._load = Load(model_id, settings)
        self.is_lost = False
        self.lanes = [ours for ours, _ in pairs]
        numbers = [theirs.fileno() for _, theirs in pairs]
        # In a group of its own: the terminal's interrupt is for the backend, which ends it.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "imgserve.models.worker", *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            pass_fds=numbers,
            process_group=0,
        )
        for _, theirs in pairs:
            theirs.close()

    def wait_until_loaded(self) -> None:
        """Wait until the model can compute.

        Raises:
            ModelError: it cannot be had, or the process has ended.
        """
        try:
            send(self.lanes[0], self._load)
            answer, _ = receive(self.lanes[0])
        except OSError as exc:
            raise ModelError(
                f"the process that loaded {self._load.model} ended with {self.ended()}: "
                "the log says why"
            ) from exc
        if isinstance(answer, Refused):
            self.ended()
            raise ModelError(answer.detail)
        assert isinstance(answer, Loaded), "a copy is loaded or refuses to be"  # noqa: S101

    def compute(self, lane: socket.socket, data: bytes, options: PredictOptions) -> Computed:
        """Return what is on a picture, asked over one of the lanes.

        Raises:
            HttpError: the picture cannot be used, or the process ended meanwhile.
        """
        try:
            send(lane, Compute(options.top_k, options.thumbnail), data)
            answer, _ = receive(lane)
        except OSError as exc:
            self.is_lost = True
            raise NotReady(
                f"the process that computed with {self._load.model} has ended, another is started: "
                "send the picture again",
            ) from exc
        return _computed(answer)

    def ended(self) -> int:
        """Wait for the process to end; return its exit status, a signal's number below zero."""
        return self._process.wait()

    def close(self) -> None:
        """Let the process end: it has nothing more to do."""
        for lane in self.lanes:
            lane.close()


def _computed(answer: Head) -> Computed:
    match answer:
        case Done(computed):
            return computed
        case Refused(detail, slug):
            raise REFUSALS[slug](detail)
        case _:
            raise RuntimeError("a picture could not be classified: an entry above says why")
