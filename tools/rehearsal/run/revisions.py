"""Revisions: frozen copies of a service's template, each with an image and a history."""

import random
import string
from copy import deepcopy
from uuid import uuid4

from tools.rehearsal.answers import already_exists
from tools.rehearsal.run.conditions import TRUE, UNKNOWN, Verdict, now, worst, write
from tools.rehearsal.run.place import Place
from tools.rehearsal.store import Document, Store

KIND = "run-revisions"
SERVICE_LABEL = "serving.knative.dev/service"
NONCE_LABEL = "client.knative.dev/nonce"
# gcloud notes its own version here, which makes no difference to what runs.
CLIENT = ("run.googleapis.com/client-name", "run.googleapis.com/client-version")
# Whether a container answers, whether one could be made, and whether there was room for it.
PARTS = ("ContainerHealthy", "ContainerReady", "ResourcesAvailable")


def is_new(template: Document, before: Document | None) -> bool:
    """Return whether a template asks for a new revision.

    A nonce asks for one whatever else is the same; its absence asks for nothing.
    """
    if before is None:
        return True
    nonce = _labels(template).get(NONCE_LABEL)
    if nonce and nonce != _labels(before).get(NONCE_LABEL):
        return True
    return _what_runs(template) != _what_runs(before)


def make(store: Store, place: Place, service: Document) -> str:
    """Store a revision of the service's template; return its name.

    Raises:
        ApiError: 409, there is a revision of the name that the template asks for.
    """
    metadata, template = service["metadata"], service["spec"]["template"]
    asked = template.get("metadata", {}).pop("name", "")
    name: str = asked or _name(metadata["name"], metadata["generation"])
    if store.get(KIND, place.key(name)) is not None:
        raise already_exists(f"Revision named '{name}' already exists.")
    store.put(KIND, place.key(name), _document(name, place, service))
    return name


def _owners(place: Place, metadata: Document) -> Document:
    """Return the labels that tie a revision to its service."""
    return {
        SERVICE_LABEL: metadata["name"],
        "serving.knative.dev/configuration": metadata["name"],
        "serving.knative.dev/configurationGeneration": str(metadata["generation"]),
        "serving.knative.dev/serviceUid": metadata["uid"],
        "cloud.googleapis.com/location": place.region,
    }


def _document(name: str, place: Place, service: Document) -> Document:
    metadata, template = service["metadata"], deepcopy(service["spec"]["template"])
    own = template.get("metadata", {})
    author = {"serving.knative.dev/creator": metadata["annotations"].get(_MODIFIER, "")}
    document = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": place.project,
            "uid": str(uuid4()),
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": now(),
            "labels": {**own.get("labels", {}), **_owners(place, metadata)},
            "annotations": {**own.get("annotations", {}), **author},
        },
        "spec": template["spec"],
        "status": {"observedGeneration": 1, "conditions": []},
    }
    for kind in ("Ready", *PARTS):
        write(document, kind, Verdict(UNKNOWN, "Deploying", "Deploying revision."))
    return document


_MODIFIER = "serving.knative.dev/lastModifier"


def judge(document: Document, part: str, verdict: Verdict) -> None:
    """Write a verdict on one part of a revision, and what follows for the whole."""
    write(document, part, verdict)
    write(document, "Ready", worst(Verdict.of(document, each) for each in PARTS))


def activate(document: Document, *, active: bool) -> None:
    """Note whether a revision has a container; gcloud's list says so."""
    gone = Verdict("False", "Retired", "Revision retired: it has neither traffic nor a tag.")
    write(document, "Active", Verdict(TRUE) if active else gone, severity="Info")


def of_service(store: Store, place: Place, service: str) -> dict[str, Document]:
    """Return the revisions of a service by their names."""
    found = {}
    for key in filter(place.holds, store.names(KIND)):
        document = store.get(KIND, key)
        if document and _labels(document).get(SERVICE_LABEL) == service:
            found[document["metadata"]["name"]] = document
    return found


def _name(service: str, generation: int) -> str:
    """Return a name as Cloud Run makes them: `hello-00003-xkq`."""
    letters = "".join(set(string.ascii_lowercase) - set("aeiou"))  # no words by accident
    suffix = "".join(random.choices(letters, k=3))  # noqa: S311  not a secret
    return f"{service}-{generation:05}-{suffix}"


def _labels(resource: Document) -> dict[str, str]:
    labels: dict[str, str] = resource.get("metadata", {}).get("labels") or {}
    return labels


def _what_runs(template: Document) -> Document:
    """Return the part of a template that makes a difference."""
    metadata = template.get("metadata", {})
    annotations = metadata.get("annotations") or {}
    return {
        "labels": {k: v for k, v in _labels(template).items() if k != NONCE_LABEL},
        "annotations": {k: v for k, v in annotations.items() if k not in CLIENT},
        "name": metadata.get("name", ""),
        "spec": template["spec"],
    }
