"""What documents learn: a revision from its container, a service from its revisions."""

from collections.abc import Mapping

from tools.rehearsal.run.conditions import FALSE, GOOD, TRUE, Verdict, worst, write
from tools.rehearsal.run.keeper import Keeper
from tools.rehearsal.run.revisions import PARTS, judge
from tools.rehearsal.run.trouble import Trouble
from tools.rehearsal.store import Document


def note(revision: Document, keeper: Keeper, trouble: Trouble | None) -> None:
    """Write down how a revision fares; one that was ready once stays so, as on Cloud Run."""
    if keeper.digest:
        revision["status"]["imageDigest"] = keeper.digest
    if Verdict.of(revision).status == TRUE:
        return
    if trouble:
        judge(revision, trouble.part, trouble.verdict(revision))
    elif keeper.up:
        for part in PARTS:
            judge(revision, part, GOOD)


def conclude(service: Document, known: Mapping[str, Document], routed: Verdict) -> None:
    """Write a service's conditions.

    A failed revision makes the deployment fail that made it, and whatever sends traffic to the
    latest one; sending all traffic to other revisions afterwards, the documented way back
    (https://cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration), does not fail by it.
    """
    newest = known.get(service["status"]["latestCreatedRevisionName"])
    configured = Verdict.of(newest)
    if configured.status == FALSE:
        configured = Verdict(FALSE, "RevisionFailed", configured.message)
    write(service, "ConfigurationsReady", configured)
    write(service, "RoutesReady", routed)
    matters = _made(newest) == service["metadata"]["generation"] or any(
        each.get("latestRevision") for each in service["spec"]["traffic"]
    )
    write(service, "Ready", worst([configured, routed] if matters else [routed]))


def _made(revision: Document | None) -> int:
    """Return the generation of the service that made the revision."""
    labels = revision["metadata"]["labels"] if revision else {}
    return int(labels.get("serving.knative.dev/configurationGeneration", 0))
