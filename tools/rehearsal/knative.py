"""Services and revisions as gcloud reads and writes them: Knative's documents.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services
"""

import random
import string
from copy import deepcopy
from uuid import uuid4

from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import ApiError, now

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
API = "serving.knative.dev/v1"
SERVICE = "serving.knative.dev/service"
GENERATION = "serving.knative.dev/configurationGeneration"
LOCATION = "cloud.googleapis.com/location"
NONCE = "client.knative.dev/nonce"
# gcloud notes its own version here, which makes no difference to what runs.
CLIENT = {"run.googleapis.com/client-name", "run.googleapis.com/client-version"}
# Most memory for so many CPUs: https://cloud.google.com/run/docs/configuring/services/memory-limits
MOST_GIB = {1: 4, 2: 8, 4: 16, 8: 32}
MIB = {"Mi": 1, "Gi": 1024}


def checked(wanted: Json, store: Store, region: str) -> Json:
    """Return what a caller wants of a service, with its place.

    Raises:
        ApiError: 400 or 403 for what Cloud Run would not take, 501 for what the rehearsal lacks.
    """
    wanted.setdefault("metadata", {}).setdefault("labels", {})[LOCATION] = region
    spec = wanted["spec"]["template"]["spec"]
    container = spec["containers"][0]
    if not (container.get("startupProbe") or {}).get("httpGet"):
        raise ApiError(501, "The rehearsal runs services that have an HTTP startup probe.")
    _check_memory(container["resources"]["limits"])
    email = spec.get("serviceAccountName", "")
    if store.get("accounts", email) is None:
        message = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} "
        raise ApiError(403, f"{message}(or it may not exist).")
    traffic = wanted["spec"].setdefault("traffic", [])
    traffic[:] = traffic or [{"latestRevision": True, "percent": 100}]
    if [target["percent"] for target in traffic if target.get("percent")] != [100]:
        raise ApiError(501, "The rehearsal sends all of a service's traffic to one revision.")
    return wanted


def _check_memory(limits: Json) -> None:
    cpus, memory = float(limits["cpu"]), limits["memory"]
    most_gib = next((gib for count, gib in MOST_GIB.items() if cpus <= count), 0)
    if int(memory[:-2]) * MIB[memory[-2:]] > most_gib * 1024:
        raise ApiError(400, f"{memory} of memory is more than {limits['cpu']} CPU may have")


def successor(wanted: Json, before: Json | None) -> Json:
    """Return a service's next document, with its conditions open."""
    service = deepcopy(wanted)
    fresh = {"generation": 0, "uid": str(uuid4()), "creationTimestamp": now()}
    known = before["metadata"] if before else fresh
    service["metadata"] |= {name: known[name] for name in fresh} | {"resourceVersion": "1"}
    service["metadata"]["generation"] += 1
    service |= {"apiVersion": API, "kind": "Service"}
    service["status"] = deepcopy(before["status"]) if before else {"traffic": []}
    service["status"]["observedGeneration"] = service["metadata"]["generation"]
    return service


def differs(template: Json, before: Json) -> bool:
    """Return whether a template asks for a new revision.

    gcloud's nonce asks for one whatever else is the same; its absence asks for nothing.
    """
    nonce = _labels(template).get(NONCE)
    if nonce and nonce != _labels(before).get(NONCE):
        return True
    return _what_runs(template) != _what_runs(before)


def _labels(template: Json) -> dict[str, str]:
    return template.get("metadata", {}).get("labels") or {}


def _what_runs(template: Json) -> Json:
    annotations = template.get("metadata", {}).get("annotations") or {}
    return {
        "labels": {name: text for name, text in _labels(template).items() if name != NONCE},
        "annotations": {name: text for name, text in annotations.items() if name not in CLIENT},
        "name": template.get("metadata", {}).get("name"),
        "spec": template["spec"],
    }


def new_revision(service: Json) -> Json:
    """Return a revision of a service's template, named as asked or as Cloud Run names them.

    gcloud asks for a name where the new revision gets a tag but no traffic; once the revision is
    made, the service's template has it no longer.
    """
    metadata, asked = service["metadata"], service["spec"]["template"].get("metadata", {})
    suffix = "".join(random.choices(string.ascii_lowercase, k=3))  # noqa: S311  not a secret
    name = asked.pop("name", None) or f"{metadata['name']}-{metadata['generation']:05}-{suffix}"
    template = deepcopy(service["spec"]["template"])
    labels = {SERVICE: metadata["name"], GENERATION: str(metadata["generation"])}
    revision = {
        "apiVersion": API,
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "creationTimestamp": now(),
            "generation": 1,
            "annotations": template.get("metadata", {}).get("annotations", {}),
            "labels": {**_labels(template), **labels, LOCATION: metadata["labels"][LOCATION]},
        },
        "spec": template["spec"],
        "status": {"observedGeneration": 1, "conditions": []},
    }
    set_condition(revision, "Ready", UNKNOWN, "Deploying revision.")
    return revision


def condition(document: Json, kind: str = "Ready") -> Json:
    """Return a document's condition of this kind."""
    listed: list[Json] = document["status"]["conditions"]
    return next(each for each in listed if each["type"] == kind)


def set_condition(document: Json, kind: str, status: str, message: str = "") -> None:
    """Put a condition into a document; what is good needs no message."""
    new = {"type": kind, "status": status, "lastTransitionTime": now()}
    if status != TRUE:
        new |= {"message": message, "reason": "Deploying" if status == UNKNOWN else "Failed"}
    kept = [each for each in document["status"].get("conditions", []) if each["type"] != kind]
    document["status"]["conditions"] = [*kept, new]


def conclude(service: Json, newest: Json, routed: str, why: str) -> None:
    """Write a service's conditions.

    A failed revision makes the deployment fail that made it, and whatever sends traffic to the
    latest one; sending all traffic to other revisions afterwards, the documented way back
    (https://cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration), does not fail by it.

    Args:
        service: what they are about.
        newest: its newest revision.
        routed: whether traffic can go where it should.
        why: it cannot.
    """
    configured = condition(newest)
    set_condition(
        service, "ConfigurationsReady", configured["status"], configured.get("message", "")
    )
    set_condition(service, "RoutesReady", routed, why)
    made_now = newest["metadata"]["labels"][GENERATION] == str(service["metadata"]["generation"])
    if made_now or any(target.get("latestRevision") for target in service["spec"]["traffic"]):
        verdicts = [(configured["status"], configured.get("message", "")), (routed, why)]
    else:
        verdicts = [(routed, why)]
    order = (FALSE, UNKNOWN, TRUE)
    status, message = min(verdicts, key=lambda verdict: order.index(verdict[0]))
    set_condition(service, "Ready", status, message)
