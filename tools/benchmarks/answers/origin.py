"""Where a figure comes from: the command that measures it, on which machine, and when."""

from collections.abc import Sequence

from tools.benchmarks.answers.rehearsed import FILE
from tools.benchmarks.answers.results import Results

REHEARSAL = "rehearsal"
REHEARSE = f'make rehearse ARGS="--json tools/benchmarks/results/{FILE}"'
FULL = "full"


def command(parts: Sequence[str]) -> str:
    """Return what to type to have these parts measured."""
    if parts == (REHEARSAL,):
        return REHEARSE
    named = " ".join(parts)
    return f"make bench PARTS={named}" if len(parts) == 1 else f'make bench PARTS="{named}"'


def absent(parts: Sequence[str]) -> str:
    """Return the sentence that stands where nothing was measured."""
    return f"Not measured yet: `{command(parts)}`."


def origin(results: Results, parts: Sequence[str]) -> str:
    """Return the line beneath a table; parts measured alike are said once."""
    said = dict.fromkeys(filter(None, (_said(results, part) for part in parts)))
    return f"Measured by `{command(parts)}`" + "".join(f"; {each}" for each in said) + "."


def _said(results: Results, part: str) -> str:
    if part == REHEARSAL:
        rehearsal = results.rehearsal
        return _where(rehearsal.machine, rehearsal.taken) if rehearsal else ""
    record = results.measured.records.get(part)
    if record is None:
        return f"{part} has not been measured yet"
    plan = "" if record.plan == FULL else f", {record.plan} plan only"
    return _where(record.machine, record.taken) + plan


def _where(machine: dict[str, str], taken: str) -> str:
    cores = f"{machine['cores']} cores" if "cores" in machine else ""
    return ", ".join(filter(None, (machine.get("cpu", ""), cores, taken[:10])))
