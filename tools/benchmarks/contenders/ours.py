"""Ours, started as containers start them."""

import sys
from collections.abc import Mapping

from imgserve import contract
from imgserve.machine import cpu_quota
from tools.benchmarks import models
from tools.benchmarks.contenders.contender import Contender, Entrance, Program
from tools.benchmarks.processes.child import LOOPBACK

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "imgserve/backend/gunicorn.conf.py")
WAYS = ("url", "upload")


def _same_path(path: str) -> dict[str, str]:
    return dict.fromkeys(WAYS, path)


def _backend(app: str, precision: str = "fp32", /, **more: str) -> Program:
    values = {
        **models.environ(precision, threads=cpu_quota()),
        "HOST": LOOPBACK,
        "ALLOWED_ADDRESSES": f"{LOOPBACK}/32",
        **more,
    }
    return Program("backend", (*GUNICORN, app), lambda _: values)


def v1(model: str, precision: str = "fp32", **more: str) -> Contender:
    """Return v1; ``more`` are settings of the backend."""
    name = "v1" if precision == "fp32" else f"v1_{precision}"
    return Contender(
        name,
        f"ours, v1, {precision}",
        "ours",
        (_backend("backend_v1.app:app", precision, MODEL_NAME=model, **more),),
        (Entrance(name, "backend", _same_path(contract.PREDICT)),),
        is_peer=False,
        precision=precision,
    )


def v2(*chosen: str, **more: str) -> Contender:
    """Return v2 with these models, the default first."""
    path = contract.MODEL_PREDICT.format(model=chosen[0])
    return Contender(
        "v2",
        "ours, v2",
        "ours",
        (_backend("backend_v2.app:app", MODELS=",".join(chosen), **more),),
        (Entrance("v2", "backend", _same_path(path)),),
        is_peer=False,
    )


def v3(model: str) -> Contender:
    """Return v3: a backend that can be asked through the gateway and directly."""

    def gateway(ports: Mapping[str, int]) -> dict[str, str]:
        backend = f"{model}=http://{LOOPBACK}:{ports['backend']}"
        return {"HOST": LOOPBACK, "BACKENDS": backend}

    paths = _same_path(contract.MODEL_PREDICT.format(model=model))
    serve = (sys.executable, "-m", "v3.gateway", "serve")
    return Contender(
        "v3",
        "ours, v3",
        "ours",
        (_backend("v3.backend.app:app", MODEL_NAME=model), Program("gateway", serve, gateway)),
        (Entrance("v3_gateway", "gateway", paths), Entrance("v3_direct", "backend", paths)),
        is_peer=False,
    )
