"""Servers that are compared: ours, started as containers start them, and their peers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import requests

from imgserve import contract
from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.load import ANSWER_S, by_url, put_load, upload
from tools.benchmarks.machine import WITHOUT_MATRIX_UNITS
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.paths import SCRATCH, SMALL, WEIGHTS, sample_photograph
from tools.benchmarks.picture_host import PictureHost
from tools.benchmarks.process import child, cpu_s
from tools.benchmarks.records import Row
from tools.process import GATEWAY, GUNICORN, LOOPBACK, Failed, Process, free_port

WAYS = ("url", "upload")
# What people use instead: how each is started, with Python's -m.
PEERS = {
    # Two workers with a model and two threads each. gunicorn reads PORT by itself and would then
    # listen on all addresses.
    "original": f"gunicorn --bind {LOOPBACK}:{{port}} --workers 2 --threads 2 --timeout 120 "
    "--no-control-socket tools.benchmarks.peers.original_app:app",
    "litserve": "tools.benchmarks.peers.litserve_app",
    "bentoml": f"bentoml serve --host {LOOPBACK} --port {{port}} "
    "tools.benchmarks.peers.bentoml_app:Classifier",
}
# A peer's engine: eager torch as it comes, or our compiled model with our preprocessing.
EAGER, OURS = "eager", "ours"
# A developer's own settings must not change what is measured.
KEPT = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "USER", "PYTHONPATH"}
KEPT |= WITHOUT_MATRIX_UNITS.keys()
# A backend answers 503 while its model is loading, a gateway 502 while its backend starts.
STARTING = (502, 503)


class Program(NamedTuple):
    """One process of a server; ``{way}`` in its address stands for the way of asking."""

    name: str  # in the results
    command: tuple[str, ...]
    environ: Mapping[str, str]
    port: int
    path: str

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}{self.path}"


Server = Sequence[Program]


def _backend(name: str, app: str, path: str, precision: str = AUTO, **more: str) -> Program:
    environ = {"HOST": LOOPBACK, "ALLOWED_ADDRESSES": f"{LOOPBACK}/32", "PRECISION": precision}
    environ |= {"WEIGHTS_DIR": str(WEIGHTS), "THREADS": str(cpu_quota())}
    return Program(name, (*GUNICORN, app), environ | more, free_port(), path)


def v1(model: str, precision: str = AUTO) -> Server:
    """Return v1 with one model."""
    name = "v1" if precision == AUTO else f"v1_{precision}"
    app, path = "backend_v1.app:app", contract.PREDICT
    return [_backend(name, app, path, precision, MODEL_NAME=model)]


def peer(name: str, model: str, engine: str) -> Server:
    """Return a peer; with our engine it uses all cores, in workers or in threads."""
    is_bentoml = name == "bentoml"  # a route for each method, and one worker
    environ = {
        "MODEL_NAME": model,
        "BENCH_ENGINE": engine,
        "WEIGHTS_DIR": str(WEIGHTS),
        "THREADS": str(cpu_quota() if is_bentoml else 1),
    }
    python, port = str(SCRATCH / name / ".venv" / "bin" / "python"), free_port()
    command = (python, "-m", *PEERS[name].format(port=port).split())
    path = "/predict_{way}" if is_bentoml else "/predict"
    return [Program(f"{name}_{engine}", command, environ, port, path)]


def missing(server: str) -> str:
    """Return what must be done before a server can take part, if anything."""
    name = server.rpartition("_")[0]
    if name not in PEERS or (SCRATCH / name / "installed").exists():
        return ""
    return f"{name} is not installed: tools/benchmarks/peers/install.sh {name}"


def servers(model: str = MODEL) -> dict[str, Server]:
    """Return all servers by name, ours first; v3 is asked through its gateway and directly."""
    path = contract.MODEL_PREDICT.format(model=model)
    v2 = _backend("v2", "backend_v2.app:app", path, MODELS=model)
    direct = _backend("v3_direct", "v3.backend.app:app", path, MODEL_NAME=model)
    environ = {"HOST": LOOPBACK, "BACKENDS": f"{model}=http://{LOOPBACK}:{direct.port}"}
    gateway = Program("v3_gateway", GATEWAY, environ, free_port(), path)
    ours = [v1(model, precision) for precision in models.available(model)]
    peers = [peer(name, model, engine) for engine in (EAGER, OURS) for name in PEERS]
    by_name = {server[0].name: server for server in (*ours, [v2], *peers)}
    return {**by_name, "v3": [gateway, direct]}


class Entrance(NamedTuple):
    """Where a started server is asked for the sample photograph, of one size or another."""

    program: Program
    process: Process
    pids: Sequence[int]  # of all processes of the server
    host: PictureHost
    category: str  # that its answers should name

    def request(self, way: str, megapixels: float = SMALL) -> requests.PreparedRequest:
        """Return a request for it."""
        address, picture = self.program.address.format(way=way), sample_photograph(megapixels)
        if way == "url":
            return by_url(address, self.host.url(picture))
        return upload(address, picture.read_bytes())

    def wait_until_ready(self, way: str, *, pause_s: float = 0.05) -> float:
        """Return the seconds from the start until it has named the right class.

        Raises:
            Failed: it never does, or names another.
        """
        is_right = partial(self.is_right, self.request(way))
        return self.process.wait_until(is_right, pause_s=pause_s)

    def is_right(self, request: requests.PreparedRequest) -> bool:
        """Return whether an answer names the right class; False while the server is starting.

        Raises:
            Failed: it names another class, or is an error.
        """
        try:
            with requests.Session() as session:
                answer = session.send(request, timeout=ANSWER_S)
        except requests.ConnectionError:
            return False
        if answer.status_code in STARTING:
            return False
        if not answer.ok:
            raise Failed(f"{self.program.name} answers {answer.status_code} {answer.text[:200]}")
        if (named := answer.json().get("category")) != self.category:
            raise Failed(f"{self.program.name} says {named!r}, not {self.category!r}")
        return True

    def measure(self, way: str, megapixels: float, clients: int, seconds: float) -> Row:
        """Return what it does under load (``records.COLUMNS``).

        Raises:
            Failed: its answer before or after the load is not right.
        """
        request, host = self.request(way, megapixels), [self.host.pid]
        self._require_right(request)
        before = cpu_s(self.pids), cpu_s(host)
        counted = put_load(request, clients=clients, seconds=seconds, pids=self.pids)
        after = cpu_s(self.pids), cpu_s(host)
        self._require_right(request)
        row = {"entrance": self.program.name, "way": way, "megapixels": megapixels}
        spent = {"server_cpu_s": after[0] - before[0], "host_cpu_s": after[1] - before[1]}
        return {**row, "clients": clients, **counted, **spent}

    def _require_right(self, request: requests.PreparedRequest) -> None:
        if not self.is_right(request):
            raise Failed(f"{self.program.name} has stopped answering")


@contextmanager
def running(server: Server, host: PictureHost, category: str) -> Iterator[list[Entrance]]:
    """Start a server's processes, which may not answer yet; stop them at the end."""
    clean = {name: value for name, value in os.environ.items() if name in KEPT}
    with ExitStack() as stack:
        started = [
            stack.enter_context(child(name, command, {**clean, "PORT": str(port), **environ}))
            for name, command, environ, port, _ in server
        ]
        pids = [process.pid for process in started]
        yield [Entrance(*pair, pids, host, category) for pair in zip(server, started, strict=True)]
