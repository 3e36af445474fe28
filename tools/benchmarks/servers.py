"""Servers that are compared: ours, started as containers start them, and their peers."""

import os
import sys
import time
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
from tools.benchmarks.process import LOOPBACK, Child, Failed, cpu_s, free_port
from tools.benchmarks.records import Row

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
GATEWAY = (sys.executable, "-m", "v3.gateway", "serve")
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
    """One process of a server; ``{way}`` in its path stands for the way of asking."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    port: int
    path: str


class Server(NamedTuple):
    """A server that takes part.

    Attributes:
        name: of it.
        programs: by the name under which the results have it.
        peer: in whose environment it runs; empty for ours.
    """

    name: str
    programs: Mapping[str, Program]
    peer: str = ""

    def missing(self) -> str:
        """Return what must be done before it can take part, if anything."""
        if not self.peer or (SCRATCH / self.peer / "installed").exists():
            return ""
        return f"{self.peer} is not installed: tools/benchmarks/peers/install.sh {self.peer}"


def _backend(app: str, path: str, precision: str = AUTO, **more: str) -> Program:
    environ = {"HOST": LOOPBACK, "ALLOWED_ADDRESSES": f"{LOOPBACK}/32", "PRECISION": precision}
    environ |= {"WEIGHTS_DIR": str(WEIGHTS), "THREADS": str(cpu_quota())}
    return Program((*GUNICORN, app), environ | more, free_port(), path)


def v1(model: str, precision: str = AUTO) -> Server:
    """Return v1 with one model."""
    name = "v1" if precision == AUTO else f"v1_{precision}"
    backend = _backend("backend_v1.app:app", contract.PREDICT, precision, MODEL_NAME=model)
    return Server(name, {name: backend})


def v2(model: str) -> Server:
    """Return v2 with one model in its pool."""
    path = contract.MODEL_PREDICT.format(model=model)
    return Server("v2", {"v2": _backend("backend_v2.app:app", path, MODELS=model)})


def v3(model: str) -> Server:
    """Return v3, which is asked through its gateway and directly."""
    path = contract.MODEL_PREDICT.format(model=model)
    backend = _backend("v3.backend.app:app", path, MODEL_NAME=model)
    environ = {"HOST": LOOPBACK, "BACKENDS": f"{model}=http://{LOOPBACK}:{backend.port}"}
    gateway = Program(GATEWAY, environ, free_port(), path)
    return Server("v3", {"v3_gateway": gateway, "v3_direct": backend})


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
    path = "/predict_{way}" if is_bentoml else "/predict"
    program = Program((python, "-m", *PEERS[name].format(port=port).split()), environ, port, path)
    return Server(f"{name}_{engine}", {f"{name}_{engine}": program}, name)


def servers(model: str = MODEL) -> list[Server]:
    """Return all servers, ours first."""
    ours = [v1(model, precision) for precision in models.available(model)]
    peers = [peer(name, model, engine) for engine in (EAGER, OURS) for name in PEERS]
    return [*ours, v2(model), v3(model), *peers]


class Entrance(NamedTuple):
    """Where a started server is asked for the sample photograph, of one size or another.

    Attributes:
        name: in the results.
        address: in which ``{way}`` stands for the way of asking.
        child: the process that is asked.
        pids: of all processes of the server.
        host: of the photographs.
        category: the class that its answers should name.
    """

    name: str
    address: str
    child: Child
    pids: Sequence[int]
    host: PictureHost
    category: str

    def request(self, way: str, megapixels: float = SMALL) -> requests.PreparedRequest:
        """Return a request for it."""
        address, picture = self.address.format(way=way), sample_photograph(megapixels)
        if way == "url":
            return by_url(address, self.host.url(picture))
        return upload(address, picture.read_bytes())

    def wait_until_ready(self, way: str, *, pause_s: float = 0.05) -> float:
        """Return the seconds from the start until it has named the right class.

        Raises:
            Failed: it never does, or names another.
        """
        self.child.wait_until(partial(self.is_right, self.request(way)), pause_s=pause_s)
        return time.perf_counter() - self.child.started_s

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
            raise Failed(f"{self.name} answers {answer.status_code} {answer.text[:200]}")
        if (named := answer.json().get("category")) != self.category:
            raise Failed(f"{self.name} says {named!r}, not {self.category!r}")
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
        spent = {
            "server_cpu_s": cpu_s(self.pids) - before[0],
            "host_cpu_s": cpu_s(host) - before[1],
        }
        self._require_right(request)
        asked = {"entrance": self.name, "way": way, "megapixels": megapixels, "clients": clients}
        return {**asked, **counted, **spent}

    def _require_right(self, request: requests.PreparedRequest) -> None:
        if not self.is_right(request):
            raise Failed(f"{self.name} has stopped answering")


@contextmanager
def running(server: Server, host: PictureHost, category: str) -> Iterator[list[Entrance]]:
    """Start a server's processes, which may not answer yet; stop them at the end."""
    clean = {name: value for name, value in os.environ.items() if name in KEPT}
    with ExitStack() as stack:
        children = {}
        for name, program in server.programs.items():
            environ = {**clean, "PORT": str(program.port), **program.environ}
            children[name] = stack.enter_context(Child(name, program.command, environ))
        pids = [child.pid for child in children.values()]
        addresses = {
            name: f"http://{LOOPBACK}:{program.port}{program.path}"
            for name, program in server.programs.items()
        }
        yield [
            Entrance(name, address, children[name], pids, host, category)
            for name, address in addresses.items()
        ]
