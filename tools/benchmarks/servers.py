"""Servers that are compared: ours, started as containers start them, and their peers."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import requests

from imgserve import contract
from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.load import ANSWER_S, Request, by_url, put_load, upload
from tools.benchmarks.machine import WITHOUT_MATRIX_UNITS
from tools.benchmarks.models import AUTO, MODEL
from tools.benchmarks.paths import SCRATCH, SMALL, WEIGHTS, sample_photograph
from tools.benchmarks.picture_host import PictureHost
from tools.benchmarks.process import LOOPBACK, Child, Failed, cpu_s, free_port, peak_memory

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
GATEWAY = (sys.executable, "-m", "v3.gateway", "serve")
WAYS = ("url", "upload")
# What people use instead: how each is started, with Python's -m.
PEERS = {
    # Two workers with a model and two threads each. gunicorn reads PORT by itself and would then
    # listen on all addresses.
    "original": f"gunicorn --bind {LOOPBACK}:{{server}} --workers 2 --threads 2 --timeout 120 "
    "--no-control-socket tools.benchmarks.peers.original_app:app",
    "litserve": "tools.benchmarks.peers.litserve_app",
    "bentoml": f"bentoml serve --host {LOOPBACK} --port {{server}} "
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
    """One process of a server; ``{name}`` in a word or value stands for that program's port."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]


class Endpoint(NamedTuple):
    """Where a program is asked: its name in the results, and its path by the way of asking."""

    name: str
    program: str
    paths: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """A server that takes part; a peer is installed in an environment of its own."""

    name: str
    programs: tuple[Program, ...]
    endpoints: tuple[Endpoint, ...]
    peer: str = ""

    def missing(self) -> str:
        """Return what must be done before it can take part, if anything."""
        if not self.peer or (SCRATCH / self.peer / "installed").exists():
            return ""
        return f"{self.peer} is not installed: tools/benchmarks/peers/install.sh {self.peer}"


def _backend(app: str, precision: str, **more: str) -> Program:
    allowed = {"HOST": LOOPBACK, "ALLOWED_ADDRESSES": f"{LOOPBACK}/32"}
    environ = {**models.environ(precision), **allowed, **more}
    return Program("backend", (*GUNICORN, app), environ)


def v1(model: str, precision: str = AUTO) -> Server:
    """Return v1 with one model."""
    name = "v1" if precision == AUTO else f"v1_{precision}"
    endpoint = Endpoint(name, "backend", dict.fromkeys(WAYS, contract.PREDICT))
    return Server(name, (_backend("backend_v1.app:app", precision, MODEL_NAME=model),), (endpoint,))


def v2(model: str) -> Server:
    """Return v2 with one model in its pool."""
    path = contract.MODEL_PREDICT.format(model=model)
    endpoint = Endpoint("v2", "backend", dict.fromkeys(WAYS, path))
    return Server("v2", (_backend("backend_v2.app:app", AUTO, MODELS=model),), (endpoint,))


def v3(model: str) -> Server:
    """Return v3, which is asked through its gateway and directly."""
    paths = dict.fromkeys(WAYS, contract.MODEL_PREDICT.format(model=model))
    backends = f"{model}=http://{LOOPBACK}:{{backend}}"
    backend = _backend("v3.backend.app:app", AUTO, MODEL_NAME=model)
    gateway = Program("gateway", GATEWAY, {"HOST": LOOPBACK, "BACKENDS": backends})
    endpoints = (Endpoint("v3_gateway", "gateway", paths), Endpoint("v3_direct", "backend", paths))
    return Server("v3", (backend, gateway), endpoints)


def peer(name: str, model: str, engine: str) -> Server:
    """Return a peer; with our engine it uses all cores, in workers or in threads."""
    is_bentoml = name == "bentoml"  # a route for each method, and one worker
    environ = {
        "MODEL_NAME": model,
        "BENCH_ENGINE": engine,
        "WEIGHTS_DIR": str(WEIGHTS),
        "THREADS": str(cpu_quota() if is_bentoml else 1),
    }
    python = str(SCRATCH / name / ".venv" / "bin" / "python")
    program = Program("server", (python, "-m", *PEERS[name].split()), environ)
    paths = {way: f"/predict_{way}" if is_bentoml else "/predict" for way in WAYS}
    own = f"{name}_{engine}"
    return Server(own, (program,), (Endpoint(own, "server", paths),), name)


def servers(model: str = MODEL) -> list[Server]:
    """Return all servers, ours first."""
    ours = [v1(model, precision) for precision in models.available(model)]
    peers = [peer(name, model, engine) for engine in (EAGER, OURS) for name in PEERS]
    return [*ours, v2(model), v3(model), *peers]


@dataclass(frozen=True)
class Running:
    """A started server, which is asked for the sample photograph, of one size or another.

    Attributes:
        category: the class that its answers should name.
    """

    server: Server
    children: Mapping[str, Child]
    ports: Mapping[str, int]
    host: PictureHost
    category: str

    @property
    def pids(self) -> list[int]:
        """Return its first processes."""
        return [child.pid for child in self.children.values()]

    def request(self, endpoint: Endpoint, way: str, megapixels: float = SMALL) -> Request:
        """Return a request for an endpoint."""
        picture, port = sample_photograph(megapixels), self.ports[endpoint.program]
        address = f"http://{LOOPBACK}:{port}{endpoint.paths[way]}"
        if way == "url":
            return by_url(address, self.host.url(picture))
        return upload(address, picture.read_bytes())

    def wait_until_ready(self, way: str, *, pause_s: float = 0.05) -> float:
        """Return the seconds from the start until every endpoint has named the right class.

        Raises:
            Failed: one never does, or names another.
        """
        for endpoint in self.server.endpoints:
            is_right = partial(self.is_right, self.request(endpoint, way))
            self.children[endpoint.program].wait_until(is_right, pause_s=pause_s)
        return time.perf_counter() - min(child.started_s for child in self.children.values())

    def is_right(self, request: Request) -> bool:
        """Return whether an answer names the right class; False while the server is starting.

        Raises:
            Failed: it names another class, or is an error.
        """
        headers = {"Content-Type": request.media_type}
        try:
            answer = requests.post(request.url, request.body, headers=headers, timeout=ANSWER_S)
        except requests.ConnectionError:
            return False
        if answer.status_code in STARTING:
            return False
        if not answer.ok:
            raise Failed(f"{self.server.name} answers {answer.status_code} {answer.text[:200]}")
        if (named := answer.json().get("category")) != self.category:
            raise Failed(f"{self.server.name} says {named!r}, not {self.category!r}")
        return True

    def measure(
        self, endpoint: Endpoint, way: str, clients: int, seconds: float, megapixels: float = SMALL
    ) -> dict[str, Any]:
        """Return what an endpoint does under load (``records.COLUMNS``).

        Raises:
            Failed: its answer before or after the load is not right.
        """
        request, host = self.request(endpoint, way, megapixels), [self.host.pid]
        self._require_right(request)
        before = cpu_s(self.pids), cpu_s(host)
        with peak_memory(self.pids) as memory_mb:
            counted = put_load(request, clients=clients, seconds=seconds)
        spent = {
            "server_cpu_s": cpu_s(self.pids) - before[0],
            "host_cpu_s": cpu_s(host) - before[1],
        }
        self._require_right(request)
        asked = {"entrance": endpoint.name, "way": way, "megapixels": megapixels}
        asked["clients"] = clients
        return {**asked, **counted, **spent, "peak_mb": max(memory_mb)}

    def _require_right(self, request: Request) -> None:
        if not self.is_right(request):
            raise Failed(f"{self.server.name} has stopped answering")


@contextmanager
def running(server: Server, host: PictureHost, category: str) -> Iterator[Running]:
    """Start a server's processes, which may not answer yet; stop them at the end."""
    ports = {program.name: free_port() for program in server.programs}
    clean = {name: value for name, value in os.environ.items() if name in KEPT}
    with ExitStack() as stack:
        children = {}
        for program in server.programs:
            command = [word.format(**ports) for word in program.command]
            own = {name: value.format(**ports) for name, value in program.environ.items()}
            environ = {**clean, "PORT": str(ports[program.name]), **own}
            child = Child(f"{server.name}-{program.name}", command, environ)
            children[program.name] = stack.enter_context(child)
        yield Running(server, children, ports, host, category)
