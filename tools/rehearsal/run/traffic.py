"""Which revision gets how much of a service's traffic, and which ones a tag leads to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tools.rehearsal.run.conditions import FALSE, GOOD, TRUE, UNKNOWN, Verdict, worst
from tools.rehearsal.store import Document


@dataclass(frozen=True)
class Target:
    """One line of a service's traffic, with the revision that it means."""

    revision: str
    percent: int
    tag: str
    latest: bool

    def document(self, url: str) -> Document:
        """Return it as a service's status shows it."""
        written: Document = {"revisionName": self.revision}
        if self.latest:
            written["latestRevision"] = True
        if self.percent or not self.tag:
            written["percent"] = self.percent
        return written | ({"tag": self.tag, "url": url} if self.tag else {})


def targets(service: Document, latest: str) -> list[Target]:
    """Return the targets of a service's spec.

    Args:
        service: the service.
        latest: the revision that the targets without a name mean.
    """
    return [_target(each, latest) for each in service["spec"]["traffic"]]


def _target(document: Document, latest: str) -> Target:
    return Target(
        revision=document.get("revisionName") or latest,
        percent=document.get("percent") or 0,
        tag=document.get("tag") or "",
        latest=bool(document.get("latestRevision")),
    )


def served(service: Document) -> list[Target]:
    """Return the targets that are being served, as the service's status says."""
    return [_target(each, "") for each in service["status"].get("traffic", [])]


def verdict(
    wanted: list[Target],
    known: Mapping[str, Document],
    up: Collection[str],
    failures: Mapping[str, str],
) -> Verdict:
    """Return whether traffic can be sent where it should go.

    Args:
        wanted: where it should go.
        known: the service's revisions.
        up: names of those whose container answers.
        failures: what is wrong with those whose container did not come up again.
    """
    return worst(_one(each.revision, known, up, failures) for each in wanted)


def _one(
    revision: str, known: Mapping[str, Document], up: Collection[str], failures: Mapping[str, str]
) -> Verdict:
    if revision in up:
        return GOOD
    if revision not in known:
        return Verdict(FALSE, "RevisionMissing", f"Revision '{revision}' does not exist.")
    ready = Verdict.of(known[revision])
    if ready.status == FALSE or revision in failures:
        return Verdict(FALSE, "RevisionFailed", failures.get(revision) or ready.message)
    return Verdict(UNKNOWN, "Deploying", f"Waiting for a container of '{revision}'.")


def needed(wanted: list[Target], service: Document, known: Mapping[str, Document]) -> set[str]:
    """Return the revisions that must have a container: for traffic, a tag, or their first test."""
    states = {name: Verdict.of(document).status for name, document in known.items()}
    names = {each.revision for each in (*wanted, *served(service))}
    untested = {name for name, state in states.items() if state == UNKNOWN}
    return untested | {name for name in names if states.get(name) == TRUE}
