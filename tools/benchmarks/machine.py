"""Which machine, and which versions, figures were taken with."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from imgserve.machine import cpu_quota, memory_bytes
from tools.benchmarks.paths import SCRATCH
from v3.gateway.serve import find_nginx

GIB = 2**30
OURS = ("flask", "gunicorn", "numpy", "openvino", "pillow", "torch", "torchvision")
PEERS = ("litserve", "bentoml")
# What decides how fast an inference is: vectors, then matrix units (AMX).
VECTORS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")
MATRIX_UNITS = ("amx_bf16", "amx_int8")
UNUSED = "there, but not used"
CPUINFO = Path("/proc/cpuinfo")
# Tells OpenVINO and torch to compute as on a CPU of the time before matrix units.
WITHOUT_MATRIX_UNITS = dict.fromkeys(("OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA"), "AVX512_CORE_VNNI")


def uses_matrix_units() -> bool:
    """Return whether this run computes with matrix units."""
    return machine()["amx"] not in {"no", UNUSED}


def machine(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Return what the machine is, e.g. ``{"cpu": "Intel ...", "cores": "2", "amx": "no", ...}``."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = set(text.split())
    amx = ", ".join(name for name in MATRIX_UNITS if name in flags)
    if amx and WITHOUT_MATRIX_UNITS.items() <= os.environ.items():
        amx = UNUSED
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": str(cpu_quota()),
        "instructions": ", ".join(name for name in VECTORS if name in flags),
        "amx": amx or "no",
        "memory": f"{memory_bytes() / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part."""
    found = {"python": platform.python_version(), **{name: version(name) for name in OURS}}
    for name, program in (("wrk", "wrk"), ("nginx", find_nginx(os.environ.get("PATH", "")))):
        done = subprocess.run((program, "-v"), capture_output=True, text=True, check=False)
        number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        found[name] = number[0] if number else "unknown"
    for name in PEERS:
        for info in (SCRATCH / name).glob(f".venv/lib/python*/site-packages/{name}-*.dist-info"):
            found[name] = info.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return found
