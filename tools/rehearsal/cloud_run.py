"""Cloud Run: brings containers in line with what services ask for, in Knative's documents.

A request that changes a service is answered once that is done or has failed. Google answers it at
once, and gcloud then asks until it is done.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services
"""

import random
import string
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from uuid import uuid4

from flask import Blueprint, Response, request

from tools.rehearsal.front_door import Addresses
from tools.rehearsal.host import LOOPBACK, free_ports
from tools.rehearsal.instance import Instance, InstanceFailed, Launcher, container_of
from tools.rehearsal.store import Json, Store
from tools.rehearsal.tokens import entry_status
from tools.rehearsal.web import ApiError, add_documents, add_policy, body, now, part

api = Blueprint("run", __name__)
entry = Blueprint("entry", __name__)

API = "serving.knative.dev/v1"
NAMESPACE = f"/apis/{API}/namespaces/<_project>"
SERVICE = "/v1/projects/<_project>/locations/<_region>/services/<name>"
SERVICE_LABEL = "serving.knative.dev/service"
LOCATION = "cloud.googleapis.com/location"
NONCE = "client.knative.dev/nonce"
CONDITIONS = ("Ready", "ConfigurationsReady", "RoutesReady")
LINGER_S = 0.5  # a request that was let in just before still finds its container


class CloudRun:
    """Services and their revisions' containers."""

    def __init__(self, store: Store, addresses: Addresses, launch: Launcher) -> None:
        self._store, self._addresses, self._launch = store, addresses, launch
        self._instances: dict[str, Instance] = {}  # by revision
        self._stopping = ThreadPoolExecutor()
        self._changed = threading.Condition()
        self._starting: set[str] = set()  # revisions; others may deploy meanwhile

    def apply(self, wanted: Json) -> Json:
        """Make a service as it shall be, as far as that works, and return how it stands.

        A service whose change has failed goes on serving what it served before. ApiError 409 where
        it was changed after the caller had read it.
        """
        with self._changed:
            service, revision = self._change(wanted)
        failure = self._start(revision) if revision else ""
        with self._changed:
            if revision:
                self._starting.remove(revision["metadata"]["name"])
                self._changed.notify_all()
            self._changed.wait_for(lambda: not self._starting & self._named(service))
            service = self._current(service)
            self._settle(service, revision, failure)
            self._store.put("services", service["metadata"]["name"], service)
            return service

    def _current(self, service: Json) -> Json:
        """Return a service as it stands, which others may have changed."""
        return self._store.get("services", service["metadata"]["name"]) or service

    def _named(self, service: Json) -> set[str]:
        return {target.get("revisionName") for target in self._current(service)["spec"]["traffic"]}

    def _change(self, wanted: Json) -> tuple[Json, Json | None]:
        """Keep what is wanted of a service; return it, and the revision to start if it has one."""
        name, revision = wanted["metadata"]["name"], None
        before = self._store.get("services", name)
        version = wanted["metadata"].get("resourceVersion")
        if before and version and version != before["metadata"]["resourceVersion"]:
            raise ApiError(409, f"Conflict for resource '{name}': it is not version {version}.")
        service = _successor(wanted, before)
        url = self._addresses.url(name)
        service["status"] |= {"url": url, "address": {"url": url}}
        if before is None or _asks_for_revision(wanted, before):
            revision = _new_revision(service)
            service["status"]["latestCreatedRevisionName"] = revision["metadata"]["name"]
            self._starting.add(revision["metadata"]["name"])
        service["status"]["conditions"] = _conditions(None)
        self._store.put("services", name, service)
        return service, revision

    def _settle(self, service: Json, revision: Json | None, failure: str) -> None:
        """Send traffic where it shall go, as far as that works, and say how the service stands."""
        status = service["status"]
        if revision and not failure:
            status["latestReadyRevisionName"] = revision["metadata"]["name"]
        traffic = self._traffic(service)
        failure = failure or self._unreachable(traffic)
        if not failure:
            status["traffic"] = traffic
        status["conditions"] = _conditions(failure)
        targets = [*traffic, *status["traffic"]]
        named = {target["revisionName"] for target in targets}
        self._retire(self._revisions(service["metadata"]["name"]) - named)

    def end(self, name: str) -> None:
        """Remove the revisions and containers of a service."""
        revisions = self._revisions(name)
        for revision in revisions:
            self._store.delete("revisions", revision)
        self._retire(revisions)

    def stop(self) -> None:
        """End all containers; return when they are gone."""
        self._retire(set(self._instances))
        self._stopping.shutdown()

    def port(self, service: str, tag: str) -> int | None:
        """Return where the container listens that answers for a service or one of its tags."""
        document = self._store.get("services", service) or {"status": {"traffic": []}}
        for target in document["status"]["traffic"]:
            if target.get("tag") == tag if tag else target.get("percent"):
                instance = self._instances.get(target["revisionName"])
                return instance.port if instance else None
        return None

    def _start(self, revision: Json) -> str:
        """Start a revision's container; return why that failed, if it did."""
        name, failure = revision["metadata"]["name"], ""
        try:
            self._instances[name] = self._launch(revision, free_ports(1)[0])
            self._instances[name].wait_until_ready(container_of(revision)["startupProbe"])
            revision["status"]["readyAfterSeconds"] = self._instances[name].ready_after_s
        except InstanceFailed as exc:
            failure = f"Revision '{name}' is not ready and cannot serve traffic. {exc}"
            self._retire({name})
        revision["status"]["conditions"] = _conditions(failure)
        self._store.put("revisions", name, revision)
        return failure

    def _traffic(self, service: Json) -> list[Json]:
        """Return where a service's traffic should go, each with its revision and address."""
        name, status = service["metadata"]["name"], service["status"]
        latest = status.get("latestReadyRevisionName") or status["latestCreatedRevisionName"]
        targets = []
        for target in service["spec"]["traffic"]:
            resolved = {**target, "revisionName": target.get("revisionName") or latest}
            if tag := target.get("tag"):
                resolved["url"] = self._addresses.url(name, tag)
            targets.append(resolved)
        return targets

    def _unreachable(self, traffic: list[Json]) -> str:
        """Start the containers that traffic lacks; return why it cannot go there, if so."""
        for name in (target["revisionName"] for target in traffic):
            revision = self._store.get("revisions", name)
            if revision is None:
                return f"Revision '{name}' does not exist."
            if failure := revision["status"]["conditions"][0].get("message"):
                return str(failure)
            if name not in self._instances and (failure := self._start(revision)):
                return failure
        return ""

    def _retire(self, revisions: set[str]) -> None:
        for revision in revisions:
            if instance := self._instances.pop(revision, None):
                self._stopping.submit(_stop_later, instance)

    def _revisions(self, service: str) -> set[str]:
        found = (one["metadata"] for one in self._store.all("revisions"))
        return {about["name"] for about in found if about["labels"][SERVICE_LABEL] == service}


def _stop_later(instance: Instance) -> None:
    time.sleep(LINGER_S)
    instance.stop()


# --- documents -----------------------------------------------------------------------------------


def _checked(wanted: Json, store: Store, region: str) -> Json:
    """Return what a caller wants of a service, with its place.

    ApiError 403 for an account that is not there, 501 for what the rehearsal lacks.
    """
    wanted.setdefault("metadata", {}).setdefault("labels", {})[LOCATION] = region
    spec = wanted["spec"]["template"]["spec"]
    email = spec.get("serviceAccountName", "")
    if store.get("accounts", email) is None:
        message = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} "
        raise ApiError(403, f"{message}(or it may not exist).")
    traffic = wanted["spec"].setdefault("traffic", [])
    traffic[:] = traffic or [{"latestRevision": True, "percent": 100}]
    if [target["percent"] for target in traffic if target.get("percent")] != [100]:
        raise ApiError(501, "The rehearsal sends all of a service's traffic to one revision.")
    return wanted


def _successor(wanted: Json, before: Json | None) -> Json:
    """Return a service's next document, which still says of its traffic what it said before."""
    service = deepcopy(wanted)
    fresh = {"generation": 0, "uid": str(uuid4()), "creationTimestamp": now()}
    known = before["metadata"] if before else fresh
    service["metadata"] |= {name: known[name] for name in fresh}
    service["metadata"]["generation"] += 1
    service["metadata"]["resourceVersion"] = str(service["metadata"]["generation"])
    service |= {"apiVersion": API, "kind": "Service"}
    service["status"] = deepcopy(before["status"]) if before else {"traffic": []}
    service["status"]["observedGeneration"] = service["metadata"]["generation"]
    return service


def _asks_for_revision(wanted: Json, before: Json) -> bool:
    """Return whether a new revision is wanted: gcloud gives it a name, or a nonce of its own, or
    it is another one."""
    templates = [one["spec"]["template"] for one in (wanted, before)]
    new, old = (template.get("metadata", {}) for template in templates)
    nonce, last = ((one.get("labels") or {}).get(NONCE) for one in (new, old))
    is_other = templates[0]["spec"] != templates[1]["spec"]
    return bool(new.get("name") or (nonce and nonce != last) or is_other)


def _new_revision(service: Json) -> Json:
    """Return a revision of a service's template, named as asked or as Cloud Run names them.

    gcloud asks for a name where the new revision gets a tag but no traffic; once the revision is
    made, the service's template has it no longer.
    """
    metadata, asked = service["metadata"], service["spec"]["template"].get("metadata", {})
    suffix = "".join(random.choices(string.ascii_lowercase, k=3))  # noqa: S311  not a secret
    name = asked.pop("name", None) or f"{metadata['name']}-{metadata['generation']:05}-{suffix}"
    template = deepcopy(service["spec"]["template"])
    labels = template.get("metadata", {}).get("labels") or {}
    own = {SERVICE_LABEL: metadata["name"], LOCATION: metadata["labels"][LOCATION]}
    about = {"name": name, "namespace": metadata["namespace"], "creationTimestamp": now()}
    return {
        "apiVersion": API,
        "kind": "Revision",
        "metadata": {**about, "generation": 1, "labels": {**labels, **own}},
        "spec": template["spec"],
        "status": {"observedGeneration": 1},
    }


def _conditions(failure: str | None) -> list[Json]:
    """Return the conditions of a service or a revision: all failed for a reason, all good ("") or
    all open (None)."""
    how = {"status": "Unknown" if failure is None else "True", "lastTransitionTime": now()}
    if failure:
        how |= {"status": "False", "message": failure, "reason": "Failed"}
    return [{"type": kind, **how} for kind in CONDITIONS]


# --- requests ------------------------------------------------------------------------------------

add_documents(
    api,
    f"{NAMESPACE}/services/<name>",
    "services",
    "items",
    after_delete=lambda name: part(CloudRun).end(name),
)
add_documents(api, f"{NAMESPACE}/revisions/<name>", "revisions", "items")
add_policy(api, SERVICE, "services")


@api.get("/v1/projects/<_project>/locations/-/services")
def list_all_services(_project: str) -> Json:
    return {"items": part(Store).all("services")}


@api.post(f"{NAMESPACE}/services")
@api.put(f"{NAMESPACE}/services/<_name>")
def apply_service(**_: str) -> Json:
    region = request.host.partition(".")[0].removesuffix("-run")  # us-central1-run.test
    return part(CloudRun).apply(_checked(body(), part(Store), region))


@entry.get("/<int:port>")
def enter(port: int) -> Response:
    """Tell the front door whether a caller may come in at a port, and who answers there."""
    service, tag = part(Addresses).owner(port)
    authorization = request.headers.get("Authorization", "")
    status = entry_status(part(Store), service, authorization)
    container = part(CloudRun).port(service, tag) or 0  # nobody listens at port 0: nginx says 502
    return Response(status=status, headers={"X-Container": f"{LOOPBACK}:{container}"})
