"""The peers, each in its own environment: torch as it comes, or our engine."""

from functools import partial
from pathlib import Path

from imgserve.machine import cpu_quota
from tools.benchmarks.contenders.contender import Contender, Entrance, Program
from tools.benchmarks.places import SCRATCH, WEIGHTS
from tools.benchmarks.processes.child import LOOPBACK

BOTH = {"url": "/predict", "upload": "/predict"}
WITH = {"eager": "as it comes", "ours": "given our engine"}
LABEL = {"original": "the original's design", "litserve": "LitServe", "bentoml": "BentoML"}


def original(model: str, engine: str) -> Contender:
    """Return the original's design: two workers with a model and two threads each."""
    server = ("-m", "gunicorn", "--workers", "2", "--threads", "2", "--timeout", "120")
    # gunicorn reads PORT by itself and listens on all addresses then.
    bind = ("--bind", f"{LOOPBACK}:@PORT@", "--no-control-socket")
    command = (*server, *bind, "tools.benchmarks.peers.original_app:app")
    return _peer("original", model, engine, command, threads=1)


def litserve(model: str, engine: str) -> Contender:
    """Return LitServe; with our engine it has a worker for each core."""
    return _peer(
        "litserve", model, engine, ("-m", "tools.benchmarks.peers.litserve_app"), threads=1
    )


def bentoml(model: str, engine: str) -> Contender:
    """Return BentoML: one worker with four threads."""
    address = ("--host", LOOPBACK, "--port", "@PORT@")
    command = ("-m", "bentoml", "serve", *address, "tools.benchmarks.peers.bentoml_app:Classifier")
    paths = {"url": "/predict_url", "upload": "/predict_upload"}
    return _peer("bentoml", model, engine, command, paths=paths, threads=cpu_quota())


def _peer(
    name: str,
    model: str,
    engine: str,
    arguments: tuple[str, ...],
    *,
    threads: int,
    paths: dict[str, str] = BOTH,
) -> Contender:
    values = {
        "MODEL_NAME": model,
        "BENCH_ENGINE": engine,
        "WEIGHTS_DIR": str(WEIGHTS),
        "THREADS": str(threads),
    }
    python = str(SCRATCH / name / ".venv" / "bin" / "python")
    own = f"{name}_{engine}"
    return Contender(
        own,
        f"{LABEL[name]}, {WITH[engine]}",
        engine,
        (Program("server", (python, *arguments), lambda _: values),),
        (Entrance(own, "server", paths),),
        is_peer=True,
        missing=partial(_missing, SCRATCH / name / "installed", name),
    )


def _missing(stamp: Path, name: str) -> str:
    """Return what is missing for a peer; nothing where it is installed."""
    return (
        ""
        if stamp.exists()
        else f"{name} is not installed: tools/benchmarks/peers/install.sh {name}"
    )
