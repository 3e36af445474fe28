"""Services as documents: made, replaced and removed as the API's callers ask."""

from copy import deepcopy
from typing import Any
from uuid import uuid4

from tools.rehearsal.answers import ApiError, already_exists, invalid, not_found
from tools.rehearsal.apis.iam import account_exists
from tools.rehearsal.policies import forget_policy
from tools.rehearsal.run import revisions
from tools.rehearsal.run.checks import check_service
from tools.rehearsal.run.conditions import UNKNOWN, Verdict, now, write
from tools.rehearsal.run.defaults import fill_service
from tools.rehearsal.run.place import Place
from tools.rehearsal.store import Document, Store

KIND = "run-services"
CONDITIONS = ("Ready", "ConfigurationsReady", "RoutesReady")
CREATOR, MODIFIER = "serving.knative.dev/creator", "serving.knative.dev/lastModifier"
# What belongs to the server in a service's metadata, whatever the caller sends.
OURS = ("uid", "creationTimestamp", "generation", "resourceVersion", "selfLink")


def create(store: Store, place: Place, wanted: Document, *, dry: bool = False) -> Document:
    """Store a new service and its first revision; return the service.

    Raises:
        ApiError: 400, Cloud Run would not take it; 409, there is one of that name.
    """
    service = _checked(store, place, wanted)
    name = service["metadata"]["name"]
    if store.get(KIND, place.key(name)) is not None:
        raise already_exists(f"Service {name!r} already exists in {place.region}.")
    fresh = {"uid": str(uuid4()), "creationTimestamp": now(), "generation": 0}
    link = f"/apis/serving.knative.dev/v1/namespaces/{place.project}/services/{name}"
    service["metadata"] |= {**fresh, "resourceVersion": "0", "selfLink": link}
    service["metadata"]["annotations"][CREATOR] = operator(place.project)
    service["status"] = {}
    return service if dry else _stored(store, place, service, None)


def replace(store: Store, place: Place, wanted: Document, *, dry: bool = False) -> Document:
    """Store a service's new spec, and a new revision where the template changed.

    Raises:
        ApiError: 400, Cloud Run would not take it; 404, there is none of that name;
            409, it changed since the caller read it.
    """
    service = _checked(store, place, wanted)
    before = existing(store, place, service["metadata"]["name"])
    read = wanted["metadata"].get("resourceVersion")
    current = before["metadata"]["resourceVersion"]
    if read and read != current:
        message = f"Conflict for resource: version {read!r} was given, {current!r} is current."
        raise ApiError(409, message, "ABORTED")
    service["metadata"] |= {name: before["metadata"][name] for name in OURS}
    service["status"] = before["status"]
    return service if dry else _stored(store, place, service, before)


def existing(store: Store, place: Place, name: str) -> Document:
    """Return a service.

    Raises:
        ApiError: 404, there is none of that name.
    """
    service = store.get(KIND, place.key(name))
    if service is None:
        raise not_found(
            f"Resource '{name}' of kind 'SERVICE' in region '{place.region}' "
            f"in project '{place.project}' does not exist."
        )
    return service


def delete(store: Store, place: Place, name: str) -> None:
    """Remove a service, its revisions and its policy."""
    existing(store, place, name)
    for revision in revisions.of_service(store, place, name):
        store.delete(revisions.KIND, place.key(revision))
    store.delete(KIND, place.key(name))
    forget_policy(store, resource(place, name))


def delete_revision(store: Store, place: Place, name: str) -> None:
    """Remove a revision that nobody needs.

    Raises:
        ApiError: 404, there is none; 400, it serves or is the newest.
    """
    document = store.get(revisions.KIND, place.key(name))
    if document is None:
        raise not_found(f"Revision '{name}' does not exist.")
    service = existing(store, place, document["metadata"]["labels"][revisions.SERVICE_LABEL])
    status = service["status"]
    used = {each["revisionName"] for each in status.get("traffic", [])}
    used |= {status.get(f"latest{kind}RevisionName", "") for kind in ("Created", "Ready")}
    if name in used:
        raise invalid(f"Revision '{name}' cannot be deleted: it serves, has a tag or is the latest")
    store.delete(revisions.KIND, place.key(name))


def resource(place: Place, name: str) -> str:
    """Return the name under which policies know a service."""
    return f"projects/{place.project}/locations/{place.region}/services/{name}"


def operator(project: str) -> str:
    """Return the account that gcloud works as, and so the author of every change."""
    return f"operator@{project}.iam.gserviceaccount.com"


def _checked(store: Store, place: Place, wanted: Document) -> Document:
    """Return a completed copy of what the caller wants."""
    service = deepcopy(wanted)
    if not service.get("spec", {}).get("template"):
        raise invalid("spec.template: the template is missing")
    fill_service(service, place)
    service["metadata"]["annotations"][MODIFIER] = operator(place.project)
    check_service(service)
    _check_account(store, place, service["spec"]["template"]["spec"]["serviceAccountName"])
    return service


def _check_account(store: Store, place: Place, email: str) -> None:
    own = email.endswith(f"@{place.project}.iam.gserviceaccount.com")
    if own and not account_exists(store, email):
        message = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} "
        raise ApiError(403, f"{message}(or it may not exist).")


def _stored(store: Store, place: Place, service: Document, before: Document | None) -> Document:
    """Store a service with what follows from its change: numbers, revision, open conditions."""
    metadata = service["metadata"]
    old: dict[str, Any] = before["spec"] if before else {}
    if service["spec"] != old:
        metadata["generation"] += 1
    metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
    if revisions.is_new(service["spec"]["template"], old.get("template")):
        service["status"]["latestCreatedRevisionName"] = revisions.make(store, place, service)
    service["status"]["observedGeneration"] = metadata["generation"]
    for kind in CONDITIONS:
        write(service, kind, Verdict(UNKNOWN, "Deploying", "Deploying."))
    store.put(KIND, place.key(metadata["name"]), service)
    return service
