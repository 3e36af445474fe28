"""Ways to offer several models at one address; each has an entrance for each model."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imgserve import contract
from imgserve.machine import cpu_quota
from imgserve.models import compiled_model as artefact
from imgserve.models import loading
from imgserve.settings import MIB
from tools.benchmarks import models
from tools.benchmarks.contenders.contender import PORT, Contender, Entrance, Program
from tools.benchmarks.contenders.ours import v2, v3
from tools.benchmarks.processes.child import LOOPBACK

PER_REQUEST, FOR_ONE = "load per request", "pool for one"
FOR_ALL, CONTAINERS = "pool for all", "one per container"

REQUESTS_AT_ONCE = 8
PLENTY_MB = 16_000
# A request waits for its model rather than being told to come back: each of them is answered.
LOAD_WAIT_S = 60


def strategies(chosen: Sequence[str]) -> list[Contender]:
    """Return every way to offer these models; titles are the names in results."""
    return [
        _load_per_request(chosen),
        _pool(FOR_ONE, chosen, memory_mb=_largest_mb(chosen)),
        _pool(FOR_ALL, chosen, memory_mb=PLENTY_MB),
        _one_per_container(chosen),
    ]


def _load_per_request(chosen: Sequence[str]) -> Contender:
    server = ("-m", "gunicorn", "--workers", "1", "--threads", str(REQUESTS_AT_ONCE))
    bind = ("--bind", f"{LOOPBACK}:{PORT}", "--timeout", "120", "--no-control-socket")
    app = "tools.benchmarks.peers.load_per_request_app:app"
    values = {**models.environ("fp32", threads=cpu_quota()), "MODELS": ",".join(chosen)}
    program = Program("server", (sys.executable, *server, *bind, app), lambda _: values)
    return _contender(PER_REQUEST, chosen, program)


def _pool(name: str, chosen: Sequence[str], *, memory_mb: int) -> Contender:
    v2_of_them = v2(*chosen, MODEL_MEMORY_MB=str(memory_mb), LOAD_WAIT_S=str(LOAD_WAIT_S))
    return _contender(name, chosen, *v2_of_them.programs)


def _largest_mb(chosen: Sequence[str]) -> int:
    """Return the MiB that hold any one of these models, but no two of them."""
    folder = loading.compiled_folder(models.settings("fp32"))
    sizes = [artefact.parse_info(folder, model).memory_bytes for model in chosen]
    return math.ceil(max(sizes) / MIB)


def _one_per_container(chosen: Sequence[str]) -> Contender:
    def addresses(ports: Mapping[str, int]) -> dict[str, str]:
        backends = [f"{model}=http://{LOOPBACK}:{ports[model]}" for model in chosen]
        return {"HOST": LOOPBACK, "BACKENDS": ",".join(backends)}

    serve = (sys.executable, "-m", "v3.gateway", "serve")
    backends = [replace(v3(model).programs[0], name=model) for model in chosen]
    # Stopped first, the gateway closes its connections, which the backends would wait for.
    return _contender(CONTAINERS, chosen, *backends, Program("gateway", serve, addresses))


def _contender(name: str, chosen: Sequence[str], *programs: Program) -> Contender:
    """Return a contender that is asked at its last program."""
    entrances = tuple(
        Entrance(model, programs[-1].name, {"upload": contract.MODEL_PREDICT.format(model=model)})
        for model in chosen
    )
    return Contender(name.replace(" ", "_"), name, "ours", programs, entrances, is_peer=False)
