"""Conditions: what Knative's resources say about their own health, and what gcloud waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from tools.rehearsal.store import Document

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True)
class Verdict:
    """True, False or Unknown, and why."""

    status: str
    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, document: Document | None, kind: str = "Ready") -> Self:
        """Return what a stored resource says of itself; Unknown where it says nothing."""
        found = condition(document, kind)
        return cls(found.get("status", UNKNOWN), found.get("reason", ""), found.get("message", ""))


GOOD = Verdict(TRUE)


def condition(document: Document | None, kind: str) -> Document:
    """Return a resource's condition of this kind, empty where it has none."""
    listed = (document or {}).get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


def write(document: Document, kind: str, verdict: Verdict, *, severity: str = "") -> None:
    """Put a condition into a resource; its time moves only when its status does."""
    old = condition(document, kind)
    new = {"type": kind, "status": verdict.status}
    same = old.get("status") == verdict.status
    new["lastTransitionTime"] = old["lastTransitionTime"] if same else now()
    optional = {"reason": verdict.reason, "message": verdict.message, "severity": severity}
    new |= {name: text for name, text in optional.items() if text}
    listed: list[Document] = document.setdefault("status", {}).setdefault("conditions", [])
    if old:
        listed[listed.index(old)] = new
    else:
        listed.append(new)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the first that is False, else the first that is Unknown, else a good one."""
    listed = list(verdicts)
    for status in (FALSE, UNKNOWN):
        for verdict in listed:
            if verdict.status == status:
                return verdict
    return GOOD


def now() -> str:
    """Return the time as Google's APIs write it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
