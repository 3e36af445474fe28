"""Which machine, and which versions, figures were taken with."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from imgserve.machine import cpu_quota, memory_bytes
from tools.benchmarks.places import SCRATCH

GIB = 2**30
OURS = ("flask", "gunicorn", "numpy", "openvino", "pillow", "torch", "torchvision")
PEERS = ("litserve", "bentoml")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "amx_int8")


def machine() -> dict[str, str]:
    """Return what the machine is."""
    text = _text(Path("/proc/cpuinfo"))
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = set(text.split())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(cpu_quota()),
        "instructions": ", ".join(each for each in INSTRUCTIONS if each in flags),
        "memory": f"{memory_bytes() / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": ", ".join(f"{each:.2f}" for each in os.getloadavg()),
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    ours = {name: version(name) for name in OURS}
    programs = {"wrk": ("wrk", "-v"), "nginx": ("/usr/sbin/nginx", "-v")}
    named = {name: _program_version(command) for name, command in programs.items()}
    return {"python": platform.python_version(), **ours, **named, **_peer_versions()}


def _peer_versions() -> Mapping[str, str]:
    found = {}
    for name in PEERS:
        for info in (SCRATCH / name).glob(f".venv/lib/python*/site-packages/{name}-*.dist-info"):
            found[name] = info.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return found


def _program_version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
