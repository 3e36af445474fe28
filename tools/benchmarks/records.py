"""Results on disk: a JSON file for each part, with the machine, the versions and the plan."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from tools.benchmarks.machine import machine, versions
from tools.benchmarks.plan import Plan

# What a row of each part has; an entrance is where a server is asked.
COLUMNS = {
    "limit": "round work precision processes streams threads loops rate cpu_s_each memory_mb",
    "servers": "round entrance way megapixels clients answers failed seconds rate p50_ms p99_ms "
    "server_cpu_s generator_cpu_s host_cpu_s peak_mb",
    "cold": "round what model seconds",
    "latency": "round model engine precision inference_ms",
    "accuracy": "model megapixels way pictures top1 top5",
}


class Record(msgspec.Struct):
    """What one part of one run found.

    Attributes:
        taken: when the part began.
        remarks: what a reader of the rows should know.
    """

    part: str
    taken: str
    plan: str
    machine: dict[str, str]
    versions: dict[str, str]
    rows: list[dict[str, Any]] = []
    remarks: list[str] = []


def begun(part: str, plan: Plan) -> Record:
    """Return a record without rows, of a part that begins now."""
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(part, taken, plan.name, machine(), versions())


def keep(folder: Path, record: Record) -> Path:
    """Write a part's results in place of those of an earlier run; return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.part}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


class Results:
    """What a folder of results holds; ``results["limit"]`` are the rows of the part ``limit``.

    Attributes:
        records: of the parts that have run, by name.
    """

    def __init__(self, folder: Path) -> None:
        paths = {part: folder / f"{part}.json" for part in COLUMNS}
        self.records = {
            part: msgspec.json.decode(path.read_bytes(), type=Record)
            for part, path in paths.items()
            if path.exists()
        }

    def __getitem__(self, part: str) -> pd.DataFrame:
        rows = self._rows(part)
        return rows[_is_valid(rows)] if part == "servers" else rows

    @property
    def invalid(self) -> pd.DataFrame:
        """Return the rows of servers that had a failed answer or none."""
        rows = self._rows("servers")
        return rows[~_is_valid(rows)]

    def _rows(self, part: str) -> pd.DataFrame:
        rows = self.records[part].rows if part in self.records else []
        return pd.DataFrame(rows, columns=COLUMNS[part].split())


def _is_valid(rows: pd.DataFrame) -> pd.Series:
    return (rows.answers > 0) & (rows.failed == 0)
