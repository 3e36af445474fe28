"""Servers side by side, ours and their peers: under load, and how soon each answers.

Under load all run, and in each round each is put under each load in its turn. What is compared is
a few seconds apart, since a shared machine's speed changes within a minute; an idle server takes
under a hundredth of a core. The limit, bare loops without HTTP, takes its turn among them.

A cold start is from the start of a process to its first right answer. The files have been read
before, so they come from memory, for every server.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import NamedTuple

import requests

from imgserve import contract
from imgserve.machine import cpu_quota
from tools.benchmarks import alone, models, programs
from tools.benchmarks.models import AUTO
from tools.benchmarks.plan import MODEL, SCRATCH, SIZES, SMALL, WEIGHTS, Plan, sample_photograph
from tools.benchmarks.programs import child, cpu_s, picture_host, put_load, say, upload
from tools.benchmarks.results import WITHOUT_MATRIX_UNITS, Results, Row, Rows
from tools.process import GATEWAY, GUNICORN, LOOPBACK, Failed, Process, free_port

WAYS = ("url", "upload")
ORIGINAL = "original"
# What people use instead: how each is started, with Python's -m.
PEERS = {
    # Two workers with a model and two threads each. gunicorn reads PORT by itself and would then
    # listen on all addresses.
    ORIGINAL: f"gunicorn --bind {LOOPBACK}:{{port}} --workers 2 --threads 2 --timeout 120 "
    "--no-control-socket tools.benchmarks.peers.original_app:app",
    "litserve": "tools.benchmarks.peers.litserve_app",
    "bentoml": f"bentoml serve --host {LOOPBACK} --port {{port}} "
    "tools.benchmarks.peers.bentoml_app:Classifier",
}
# A peer's engine: eager torch as it comes, or our compiled model with our preprocessing.
EAGER, OURS = "eager", "ours"
# A developer's own settings must not change what is measured.
KEPT = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "USER", "PYTHONPATH"}
KEPT |= {"BENCH_FOLDER", *WITHOUT_MATRIX_UNITS}
# The rows of loops without HTTP: the best arrangement, and one loop alone. They have no clients.
LIMIT, ONE_LOOP = "limit", "bare"
# Who is asked for larger pictures, too.
AS_THEY_COME = ("v1", *(f"{name}_{EAGER}" for name in PEERS))


class Program(NamedTuple):
    """One process of a server; ``{way}`` in its path stands for the way of asking."""

    name: str  # in the results
    command: Sequence[str]
    environ: Mapping[str, str]
    path: str
    port: int

    def running(self) -> AbstractContextManager[Process]:
        """Have it until the end of the block; it may not answer yet."""
        clean = {name: value for name, value in os.environ.items() if name in KEPT}
        own = {"HOST": LOOPBACK, "PORT": str(self.port), **self.environ}
        return child(self.name, self.command, clean | own)


def _backend(name: str, app: str, path: str, precision: str = AUTO, **more: str) -> Program:
    environ = {"ALLOWED_ADDRESSES": f"{LOOPBACK}/32", "PRECISION": precision}
    environ |= {"WEIGHTS_DIR": str(WEIGHTS), "THREADS": str(cpu_quota())}
    return Program(name, (*GUNICORN, app), environ | more, path, free_port())


def v1(model: str, precision: str = AUTO) -> Program:
    name = "v1" if precision == AUTO else f"v1_{precision}"
    return _backend(name, "backend_v1.app:app", contract.PREDICT, precision, MODEL_NAME=model)


def peer(name: str, model: str, engine: str) -> Program:
    """Return a peer; with our engine it uses all cores, in workers or in threads."""
    is_bentoml = name == "bentoml"  # a route for each method, and one worker
    threads = str(cpu_quota() if is_bentoml else 1)
    environ = {"MODEL_NAME": model, "BENCH_ENGINE": engine, "THREADS": threads}
    python, port = str(SCRATCH / name / ".venv" / "bin" / "python"), free_port()
    command = (python, "-m", *PEERS[name].format(port=port).split())
    path = "/predict_{way}" if is_bentoml else "/predict"
    return Program(f"{name}_{engine}", command, environ, path, port)


def missing(server: str) -> str:
    """Return what must be done before a server can take part, if anything."""
    name = server.rpartition("_")[0]
    if name not in PEERS or (SCRATCH / name / "installed").exists():
        return ""
    return f"{name} is not installed: tools/benchmarks/peers/install.sh {name}"


def servers() -> dict[str, list[Program]]:
    """Return all servers by name, ours first; v3 is asked through its gateway and directly."""
    path = contract.MODEL_PREDICT.format(model=MODEL)
    ours = [v1(MODEL, precision) for precision in models.available(MODEL)]
    v2 = _backend("v2", "backend_v2.app:app", path, MODELS=MODEL)
    peers = [peer(name, MODEL, engine) for engine in (EAGER, OURS) for name in PEERS]
    direct = _backend("v3_direct", "v3.backend.app:app", path, MODEL_NAME=MODEL)
    backends = {"BACKENDS": f"{MODEL}=http://{LOOPBACK}:{direct.port}"}
    gateway = Program("v3_gateway", GATEWAY, backends, path, free_port())
    return {one.name: [one] for one in (*ours, v2, *peers)} | {"v3": [gateway, direct]}


class Entrance(NamedTuple):
    """Where a started server is asked for the sample photograph, of one size or another."""

    program: Program
    process: Process
    pids: Sequence[int]  # of all processes of the server
    category: str  # that its answers should name
    host: str  # the pictures' address, where it is asked by URL

    def request(self, way: str, megapixels: float = SMALL) -> requests.PreparedRequest:
        address = f"http://{LOOPBACK}:{self.program.port}{self.program.path.format(way=way)}"
        picture = sample_photograph(megapixels)
        if way == "upload":
            return upload(address, picture.read_bytes())
        body = {"url": f"{self.host}/{picture.name}"}
        return requests.Request("POST", address, json=body).prepare()

    def wait_until_ready(self, way: str, *, pause_s: float = 0.05) -> float:
        """Return the seconds from the start until it names the right class; else Failed."""
        return self.process.wait_until(partial(self.is_right, self.request(way)), pause_s=pause_s)

    def is_right(self, request: requests.PreparedRequest) -> bool:
        """Return whether an answer names the right class; False while the server is starting.

        Failed where it names another, or is an error.
        """
        try:
            with requests.Session() as session:
                answer = session.send(request, timeout=programs.ANSWER_S)
        except requests.ConnectionError:
            return False
        if answer.status_code in {502, 503}:  # a backend or its model is starting
            return False
        if not answer.ok:
            raise Failed(f"{self.program.name} answers {answer.status_code} {answer.text[:200]}")
        if (named := answer.json().get("category")) != self.category:
            raise Failed(f"{self.program.name} says {named!r}, not {self.category!r}")
        return True

    def measure(self, way: str, megapixels: float, clients: int, seconds: float) -> Row:
        """Return what it does under load; Failed where an answer before or after is not right."""
        request = self.request(way, megapixels)
        self._require_right(request)
        before_s = cpu_s(self.pids)
        counted = put_load(request, clients=clients, seconds=seconds, pids=self.pids)
        spent_s = cpu_s(self.pids) - before_s
        self._require_right(request)
        row = {"entrance": self.program.name, "way": way, "megapixels": megapixels}
        return {**row, "clients": clients, **counted, "server_cpu_s": spent_s}

    def _require_right(self, request: requests.PreparedRequest) -> None:
        if not self.is_right(request):
            raise Failed(f"{self.program.name} has stopped answering")


@contextmanager
def running(server: Sequence[Program], category: str, host: str = "") -> Iterator[list[Entrance]]:
    """Start a server's processes, which may not answer yet; stop them at the end."""
    with ExitStack() as stack:
        started = [stack.enter_context(program.running()) for program in server]
        pids = [process.pid for process in started]
        yield [Entrance(*pair, pids, category, host) for pair in zip(server, started, strict=True)]


def measure_servers(plan: Plan, remarks: list[str]) -> Rows:
    """Yield what every server did in every round."""
    best = alone.best_arrangement(Results(plan.out))
    remarks += [*models.ensure([MODEL], plan.precisions), f"limit: {best}"]
    wanted = {name: s for name, s in servers().items() if not plan.servers or name in plan.servers}
    remarks += dict.fromkeys(filter(None, map(missing, wanted)))
    category = models.expected_category(MODEL, AUTO)
    with picture_host() as host, ExitStack() as stack:
        there = [
            entrance
            for name, server in wanted.items()
            if not missing(name)
            for entrance in stack.enter_context(running(server, category, host))
        ]
        for entrance in there:
            entrance.wait_until_ready(WAYS[0])
            put_load(entrance.request(WAYS[0]), clients=8, seconds=1)  # a warm-up
        for number in range(plan.rounds):
            for row in chain(_loop_rows(plan, best), _under_load(plan, there, number, remarks)):
                yield {"round": number, **row}


def _under_load(
    plan: Plan, there: list[Entrance], number: int, remarks: list[str]
) -> Iterator[Row]:
    """Yield a row for each load and entrance; one that fails is not asked any more."""
    for turn, load in enumerate(_loads(plan)):
        first = (number + turn) % max(1, len(there))  # nobody is always asked first
        for entrance in (*there[first:], *there[:first]):
            try:
                if load[1] == SMALL or entrance.program.name in AS_THEY_COME:
                    yield entrance.measure(*load)
            except Failed as exc:
                remarks.append(f"in round {number + 1}: {exc}".splitlines()[0])
                say(f"it is not asked any more: {exc}")
                there.remove(entrance)


def _loads(plan: Plan) -> Iterator[tuple[str, float, int, float]]:
    """Yield the way of asking, the megapixels, the number of clients and the seconds."""
    for load in plan.load_s.items():
        yield from ((way, SMALL, *load) for way in WAYS)
    for megapixels in SIZES[1:]:
        yield from ((WAYS[0], megapixels, *load) for load in plan.large_load_s.items())


def _loop_rows(plan: Plan, best: alone.Arrangement) -> Iterator[Row]:
    for name, arrangement in ((LIMIT, best), (ONE_LOOP, alone.arrangements()[0])):
        with alone.loaded(arrangement) as run:
            run(alone.WHOLE, alone.WARM_UP_S)
            done = run(alone.WHOLE, plan.loop_s)
        each_ms, rate = 1000 * done.seconds / done.pictures, done.pictures / done.seconds
        asked = {"entrance": name, "way": "file", "megapixels": SMALL, "clients": 0}
        took = {"seconds": done.seconds, "rate": rate, "p50_ms": each_ms, "p99_ms": each_ms}
        spent = {"server_cpu_s": done.cpu_s, "peak_mb": done.memory_mb}
        yield {**asked, "answers": done.pictures, "failed": 0, **took, **spent}


def measure_cold(plan: Plan, remarks: list[str]) -> Rows:
    """Yield how long every start took, interleaved, round by round."""
    remarks += models.ensure(plan.models, plan.precisions)
    keys = [(model, precision) for model in plan.models for precision in models.available(model)]
    categories = {key: models.expected_category(*key) for key in keys}
    # The first of several rounds fills the page cache and is not counted.
    for number in range(-1 if plan.rounds > 1 else 0, plan.rounds):
        for row in _starts(categories):
            if number >= 0:
                yield {"round": number, **row}


def _starts(categories: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """Yield what was started, its model, and the seconds until it named the model's category."""
    for (model, precision), category in categories.items():
        chosen = {OURS if precision == AUTO else f"{OURS}, {precision}": v1(model, precision)}
        if precision == AUTO and not missing(f"{ORIGINAL}_{EAGER}"):
            chosen[ORIGINAL] = peer(ORIGINAL, model, EAGER)
        for what, program in chosen.items():
            try:
                with running([program], category) as (entrance,):
                    seconds = entrance.wait_until_ready("upload", pause_s=0.01)
                yield {"what": what, "model": model, "seconds": seconds}
            except Failed as exc:
                say(f"cold: {what} {model}: {exc}")
