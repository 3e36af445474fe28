"""Results on disk, of which machine and versions; summaries over rounds, and tables of them."""

import os
import platform
import re
import subprocess
from collections.abc import Generator, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from imgserve.machine import cpu_quota, memory_bytes
from tools.benchmarks.plan import SCRATCH
from v3.gateway.serve import find_nginx

Row = dict[str, Any]
Rows = Generator[Row, None, None]

# What a row of each part has; an entrance is where a server is asked.
COLUMNS = {
    "limit": "round work precision processes threads loops rate cpu_s_each memory_mb",
    "servers": "round entrance way megapixels clients answers failed seconds rate p50_ms p99_ms "
    "server_cpu_s peak_mb",
    "cold": "round model what seconds",
    "latency": "round model engine precision inference_ms",
    "accuracy": "model megapixels way pictures top1 top5",
}
OURS = ("flask", "gunicorn", "numpy", "openvino", "pillow", "torch", "torchvision")
PEERS = ("litserve", "bentoml")
# What decides how fast an inference is: vectors, then matrix units (AMX).
VECTORS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")
MATRIX_UNITS = ("amx_bf16", "amx_int8")
UNUSED = "there, but not used"
# Tells OpenVINO and torch to compute as on a CPU of the time before matrix units.
WITHOUT_MATRIX_UNITS = dict.fromkeys(("OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA"), "AVX512_CORE_VNNI")


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
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
        "memory": f"{memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), **{name: version(name) for name in OURS}}
    for name, program in (("wrk", "wrk"), ("nginx", find_nginx(os.environ.get("PATH", "")))):
        done = subprocess.run((program, "-v"), capture_output=True, text=True, check=False)
        number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        found[name] = number[0] if number else "unknown"
    for name in PEERS:
        for info in (SCRATCH / name).glob(f".venv/lib/python*/site-packages/{name}-*.dist-info"):
            found[name] = info.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return found


class Record(msgspec.Struct):
    """What one part of one run found."""

    part: str
    taken: str  # when the part began
    plan: str
    machine: dict[str, str]
    versions: dict[str, str]
    rows: list[Row] = []
    remarks: list[str] = []  # what a reader of the rows should know

    def keep(self, folder: Path) -> Path:
        """Write it in place of that of an earlier run; return where."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.part}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path


class Results(dict[str, pd.DataFrame]):
    """What a folder of results holds; ``results["limit"]`` are the rows of the part ``limit``.

    ``records`` are those of the parts that have run; ``invalid`` the rows of servers that had a
    failed answer or none, which are left out.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        for part, columns in COLUMNS.items():
            if (path := folder / f"{part}.json").exists():
                self.records[part] = msgspec.json.decode(path.read_bytes(), type=Record)
            rows = self.records[part].rows if part in self.records else []
            self[part] = pd.DataFrame(rows, columns=columns.split())
        rows = self["servers"]
        is_valid = (rows.answers > 0) & (rows.failed == 0)
        self["servers"], self.invalid = rows[is_valid], rows[~is_valid]


class Summary(NamedTuple):
    """The median of some rounds, the least and the most; as text e.g. ``3.52 (3.34 to 3.95)``."""

    median: float
    least: float
    most: float
    rounds: int

    def __str__(self) -> str:
        text = three_digits(self.median)
        if self.rounds == 1:
            return text
        return f"{text} ({three_digits(self.least)} to {three_digits(self.most)})"


def summary(values: Iterable[float]) -> Summary | None:
    """Return the summary of the rounds that have a value; None where none has.

    A ratio or difference of two series has one in each round of both, if nothing is divided by 0.
    """
    known = pd.Series(values, dtype=float).replace([np.inf, -np.inf], np.nan).dropna()
    if known.empty:
        return None
    return Summary(known.median(), known.min(), known.max(), len(known))


def three_digits(value: float) -> str:
    """Return a number with three digits, or with all before the point: 0.50, 12.3, 1234."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2  # noqa: PLR2004
    return f"{value:.{digits}f}"


def by_round(rows: pd.DataFrame, column: str, **wanted: object) -> pd.Series:
    """Return one column of the rows whose other columns have these values, by round."""
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.set_index("round")[column]


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; nothing where there is no row. None becomes an empty cell."""
    lines = [f"| {' | '.join(map(shown, row))} |" for row in (titles, ["---"] * len(titles), *rows)]
    return "\n".join([*lines, ""]) if len(lines) > 2 else ""  # noqa: PLR2004  titles and the rule


def shown(value: object) -> str:
    """Return a value as a table has it."""
    text = three_digits(value) if isinstance(value, float) else str("" if value is None else value)
    return text.replace("|", "/")
