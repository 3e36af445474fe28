"""Ways to share out the cores: processes, streams, threads, loops."""

from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from imgserve.models.classifier import Probabilities
from imgserve.models.openvino_import import openvino
from imgserve.models.transform import Crop


@dataclass(frozen=True)
class Arrangement:
    """One way to share out the cores.

    Attributes:
        processes: each with a model of its own.
        streams: inferences at once in each process.
        threads: that infer, in each process.
        loops: threads of each process that read, decode, preprocess and wait for the inference.
    """

    processes: int
    streams: int
    threads: int
    loops: int

    @property
    def name(self) -> str:
        """Return it in words."""
        return (
            f"{_count(self.processes, 'process', 'es')}, {_count(self.streams, 'stream')} of "
            f"{_count(self.threads // self.streams, 'thread')}, {_count(self.loops, 'loop')}"
        )


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number > 1 else ''}"


def arrangements(cores: int) -> tuple[Arrangement, ...]:
    """Return the ways that are tried; the first is one loop that uses all cores, alone."""
    one_stream = [Arrangement(1, 1, cores, loops) for loops in (1, cores, cores + 1)]
    many_streams = [Arrangement(1, cores, cores, loops) for loops in (cores, cores + 1)]
    many_processes = [Arrangement(cores, 1, 1, loops) for loops in (1, 2)]
    return (*one_stream, *many_streams, *many_processes)


class StreamsEngine:
    """A compiled graph with a number of streams; else as ours runs it."""

    def __init__(self, graph: Path, *, streams: int, threads: int) -> None:
        core = openvino.Core()
        options = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(core.read_model(graph), "CPU", options)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(max(streams, threads)):
            self._free.put(compiled.create_infer_request())

    def __call__(self, crops: Crop) -> Probabilities:
        """Return (1, C) probabilities of one (1, H, W, 3) crop."""
        request = self._free.get()
        try:
            probabilities: Probabilities = request.infer({0: crops}, share_inputs=True)[0]
            return probabilities
        finally:
            self._free.put(request)
