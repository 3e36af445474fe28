"""Cloud Run: brings containers in line with what services ask for, in Knative's documents.

A request that changes a service is answered once that is done or has failed. Google answers it at
once, and gcloud then asks until it is done.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services
"""

import random
import string
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from flask import Response, abort, request

from tools.process import LOOPBACK, Failed, Process, free_port
from tools.rehearsal import web
from tools.rehearsal.resources import may_enter
from tools.rehearsal.web import Json, Store, api, now, part

NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/<_project>"
SERVICE_LABEL = "serving.knative.dev/service"
TO_LATEST = [{"latestRevision": True, "percent": 100}]

Launcher = Callable[[Json, int], Process]  # a revision, and the port to listen on


class CloudRun:
    """Services, and one container of each revision with traffic or a tag, however much is asked."""

    def __init__(self, store: Store, ports: list[int], launch: Launcher) -> None:
        self._store, self._launch = store, launch
        # Where nginx listens, by service and tag.
        self._ports = defaultdict[tuple[str, str], int](ports.pop)
        self._instances: dict[str, tuple[Process, int]] = {}  # by revision, with their ports
        self._stopping = ThreadPoolExecutor()
        self._changing = defaultdict[str, threading.Lock](threading.Lock)  # by service

    def apply(self, wanted: Json) -> Json:
        """Make a service as it shall be, as far as that works, and return how it stands.

        A service whose change has failed goes on serving what it served before.
        """
        name = wanted["metadata"]["name"]
        with self._changing[name]:
            before, revision = self._store.get("services", name), None
            service = _successor(wanted, before, self._url(name))
            # gcloud writes into the template of each deploy what is in no other: a nonce.
            if before is None or service["spec"]["template"] != before["spec"]["template"]:
                revision = _new_revision(service)
                service["status"]["latestCreatedRevisionName"] = revision["metadata"]["name"]
            self._store.put("services", name, service)  # what others see meanwhile
            service["status"]["conditions"] = _conditions(self._settle(service, revision))
            self._store.put("services", name, service)
            named = {target["revisionName"] for target in service["status"]["traffic"]}
            self._retire(self._revisions(name) - named)
            return service

    def _settle(self, service: Json, revision: Json | None) -> str:
        """Start a new revision, send traffic where it shall go; return why that failed, if so."""
        status = service["status"]
        try:
            if revision:
                self._start(revision)
                status["latestReadyRevisionName"] = revision["metadata"]["name"]
            traffic = self._traffic(service)
            for target in traffic:
                self._reach(target["revisionName"])
            status["traffic"] = traffic
        except Failed as exc:
            return str(exc)
        return ""

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

    def _url(self, service: str, tag: str = "") -> str:
        """Return the address of a service or of one of its tags, which stays the same."""
        return f"http://{LOOPBACK}:{self._ports[service, tag]}"

    def behind(self, port: int) -> tuple[str, int]:
        """Return the service whose address has this port, and where its container listens, or 0."""
        owners = {port: owner for owner, port in self._ports.copy().items()}
        service, tag = owners.get(port, ("", ""))
        document = self._store.get("services", service) or {"status": {"traffic": []}}
        for target in document["status"]["traffic"]:
            if target.get("tag") == tag if tag else target.get("percent"):
                _, container_port = self._instances.get(target["revisionName"], (None, 0))
                return service, container_port
        return service, 0

    def _start(self, revision: Json) -> None:
        """Start a revision's container; Failed where it does not become ready."""
        name, failure, port = revision["metadata"]["name"], "", free_port()
        try:
            process = self._launch(revision, port)
            self._instances[name] = process, port
            _probe(process, port, container_of(revision)["startupProbe"])
        except Failed as exc:
            failure = f"Revision '{name}' is not ready and cannot serve traffic. {exc}"
            self._retire({name})
        revision["status"]["conditions"] = _conditions(failure)
        self._store.put("revisions", name, revision)
        if failure:
            raise Failed(failure)

    def _reach(self, name: str) -> None:
        """Start a revision's container unless it runs; Failed where that does not work."""
        revision = self._store.get("revisions", name)
        if revision is None:
            raise Failed(f"Revision '{name}' does not exist.")
        if failure := revision["status"]["conditions"][0].get("message"):
            raise Failed(failure)
        if name not in self._instances:
            self._start(revision)

    def _traffic(self, service: Json) -> list[Json]:
        """Return where a service's traffic should go, each with its revision and address."""
        name, status = service["metadata"]["name"], service["status"]
        latest = status.get("latestReadyRevisionName") or status["latestCreatedRevisionName"]
        targets = [{"revisionName": latest, **target} for target in service["spec"]["traffic"]]
        for target in targets:
            if tag := target.get("tag"):
                target["url"] = self._url(name, tag)
        return targets

    def _retire(self, revisions: set[str]) -> None:
        for revision in revisions & self._instances.keys():
            self._stopping.submit(_stop_later, self._instances.pop(revision)[0])

    def _revisions(self, service: str) -> set[str]:
        found = (one["metadata"] for one in self._store.all("revisions"))
        return {about["name"] for about in found if about["labels"][SERVICE_LABEL] == service}


# https://cloud.google.com/run/docs/configuring/healthchecks
def _probe(process: Process, port: int, probe: Json) -> None:
    """Wait until a startup probe succeeds; Failed where it does not."""
    url, period_s = f"http://{LOOPBACK}:{port}{probe['httpGet']['path']}", probe["periodSeconds"]

    def is_ready() -> bool:
        try:
            return requests.get(url, timeout=probe["timeoutSeconds"]).ok
        except requests.RequestException:
            return False

    process.wait_until(is_ready, limit_s=probe["failureThreshold"] * period_s, pause_s=period_s)


def _stop_later(process: Process) -> None:
    time.sleep(0.5)  # a request that was let in just before still finds its container
    process.stop(10)  # https://cloud.google.com/run/docs/container-contract#instance-shutdown


def container_of(revision: Json) -> Json:
    container: Json = revision["spec"]["containers"][0]
    return container


def _successor(service: Json, before: Json | None, url: str) -> Json:
    """Return a service's next document, its traffic as before; 409 if another came in between."""
    metadata, version = service["metadata"], service["metadata"].get("resourceVersion")
    known: Json = before["metadata"] if before else {"generation": 0, "creationTimestamp": now()}
    if before and version and version != known["resourceVersion"]:
        abort(409, f"Conflict for resource '{metadata['name']}': it is not version {version}.")
    number = known["generation"] + 1
    metadata |= {"generation": number, "resourceVersion": str(number)}
    metadata["creationTimestamp"] = known["creationTimestamp"]
    status = before["status"] if before else {"traffic": []}
    status |= {"url": url, "observedGeneration": number, "conditions": _conditions(None)}
    return {**service, "status": status}


def _new_revision(service: Json) -> Json:
    """Return a revision of a service's template, named as asked or as Cloud Run names them.

    gcloud asks for a name where the new revision gets a tag but no traffic; once the revision is
    made, the service's template has it no longer.
    """
    metadata, asked = service["metadata"], service["spec"]["template"].get("metadata", {})
    suffix = "".join(random.choices(string.ascii_lowercase, k=3))  # noqa: S311  not a secret
    name = asked.pop("name", None) or f"{metadata['name']}-{metadata['generation']:05}-{suffix}"
    labels = {**(asked.get("labels") or {}), SERVICE_LABEL: metadata["name"]}
    about = {"name": name, "creationTimestamp": now(), "labels": labels}
    return {"metadata": about, "spec": service["spec"]["template"]["spec"], "status": {}}


def _conditions(failure: str | None) -> list[Json]:
    """Return conditions: all failed for a reason, all good ("") or all open (None)."""
    how = {"status": "Unknown" if failure is None else "True", "lastTransitionTime": now()}
    if failure:
        how |= {"status": "False", "message": failure, "reason": "Failed"}
    return [{"type": kind, **how} for kind in ("Ready", "ConfigurationsReady", "RoutesReady")]


web.add_documents(
    f"{NAMESPACE}/services", "services", "items", after_delete=lambda name: part(CloudRun).end(name)
)
web.add_documents(f"{NAMESPACE}/revisions", "revisions", "items")
web.add_policy("services", f"{web.PROJECT}/locations/<_region>/services/<name>")


@api.get(f"{web.PROJECT}/locations/-/services")
def list_all_services(_project: str) -> Json:
    return {"items": web.store.all("services")}


@api.post(f"{NAMESPACE}/services")
@api.put(f"{NAMESPACE}/services/<_name>")
def apply_service(**_: str) -> Json:
    """Make or change a service; HTTP error 403 for an account that is not there."""
    wanted = web.body()
    email = wanted["spec"]["template"]["spec"].get("serviceAccountName", "")
    if web.store.get("accounts", email) is None:
        message = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} "
        abort(403, f"{message}(or it may not exist).")
    region = request.host.partition(".")[0].removesuffix("-run")  # us-central1-run.test
    wanted["metadata"].setdefault("labels", {})["cloud.googleapis.com/location"] = region
    wanted["spec"]["traffic"] = wanted["spec"].get("traffic") or TO_LATEST
    return part(CloudRun).apply(wanted)


@api.get("/entry/<int:port>")
def enter(port: int) -> Response:
    """Tell the front door whether a caller may come in at a port, and who answers there."""
    service, container_port = part(CloudRun).behind(port)  # at port 0 nobody listens: a 502
    is_in = may_enter(web.store, service, request.headers.get("Authorization", ""))
    container = {"X-Container": f"{LOOPBACK}:{container_port}"}
    return Response(status=200 if is_in else 403, headers=container)
