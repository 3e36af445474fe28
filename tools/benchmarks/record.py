"""One part's results on disk: a JSON file that names the machine, the versions and the plan."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tools.benchmarks import machine
from tools.benchmarks.plan import Plan

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """What one part of one run found.

    Attributes:
        taken: when the part began.
        rows: the part's own kind, as plain values.
        remarks: what a reader of the rows should know.
    """

    part: str
    taken: str
    plan: str
    machine: dict[str, str]
    versions: dict[str, str]
    rows: list[Any]
    remarks: list[str] = []


def begun(part: str, plan: Plan) -> Record:
    """Return a record without rows, of a part that begins now."""
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(part, taken, plan.name, machine.machine(), machine.versions(), [])


def keep(folder: Path, record: Record) -> Path:
    """Write a part's results, in place of those of an earlier run; return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.part}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return path


def kept(folder: Path, part: str) -> Record | None:
    """Return a part's results; None where there are none."""
    try:
        return msgspec.json.decode((folder / f"{part}.json").read_bytes(), type=Record)
    except FileNotFoundError:
        return None


def rows(record: Record | None, kind: type[T]) -> list[T]:
    """Return a record's rows as what they are; none of no record."""
    return msgspec.convert(record.rows if record else [], list[kind])  # type: ignore[valid-type]
