"""Results on disk: a JSON file for each part, with the machine, the versions and the plan."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

Row = dict[str, Any]
Rows = Generator[Row, None, None]

# What a row of each part has; an entrance is where a server is asked.
COLUMNS = {
    "limit": "round work precision processes threads loops rate cpu_s_each memory_mb",
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
    rows: list[Row] = []
    remarks: list[str] = []


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
        invalid: the rows of servers that had a failed answer or none, which are left out.
    """

    def __init__(self, folder: Path) -> None:
        self.records: dict[str, Record] = {}
        self._rows: dict[str, pd.DataFrame] = {}
        for part, columns in COLUMNS.items():
            if (path := folder / f"{part}.json").exists():
                self.records[part] = msgspec.json.decode(path.read_bytes(), type=Record)
            rows = self.records[part].rows if part in self.records else []
            self._rows[part] = pd.DataFrame(rows, columns=columns.split())
        rows = self._rows["servers"]
        is_valid = (rows.answers > 0) & (rows.failed == 0)
        self._rows["servers"], self.invalid = rows[is_valid], rows[~is_valid]

    def __getitem__(self, part: str) -> pd.DataFrame:
        return self._rows[part]
