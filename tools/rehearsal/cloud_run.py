"""Cloud Run: brings containers and addresses in line with what services ask for.

`_settle` is the whole of it: it starts what a service lacks, sends the traffic where it should go
once containers answer there, and stops what nobody needs. It is called after each change: of a
service by gcloud, of a container by its supervisor.
"""

import threading
from collections.abc import Mapping

from flask import Blueprint, request

from tools.rehearsal import knative
from tools.rehearsal.front_door import FrontDoor
from tools.rehearsal.instance import Launcher, Supervisor
from tools.rehearsal.knative import FALSE, TRUE, UNKNOWN, condition, set_condition
from tools.rehearsal.resources import add_policy, existing
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import body, part

api = Blueprint("run", __name__)

NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/<_project>"
SERVICE = "/v1/projects/<_project>/locations/<_region>/services/<name>"
STOP_S = 40.0


class CloudRun:
    """Services, their revisions' containers and their addresses."""

    def __init__(self, store: Store, door: FrontDoor, launch: Launcher) -> None:
        self._store, self._door, self._launch = store, door, launch
        self._lock = threading.RLock()
        self._supervisors: dict[str, Supervisor] = {}
        self._retired: list[Supervisor] = []

    def apply(self, wanted: Json) -> Json:
        """Store what a service shall be, begin to bring it about, and return how it stands."""
        name = wanted["metadata"]["name"]
        with self._lock:
            before = self._store.get("services", name)
            service = knative.successor(wanted, before)
            template = before["spec"]["template"] if before else None
            if template is None or knative.differs(wanted["spec"]["template"], template):
                revision = knative.new_revision(service)
                self._store.put("revisions", revision["metadata"]["name"], revision)
                service["status"]["latestCreatedRevisionName"] = revision["metadata"]["name"]
            self._store.put("services", name, service)
            self._settle(name)
            return self._store.get("services", name) or {}

    def delete(self, name: str) -> None:
        """Remove a service with its revisions, containers and addresses."""
        with self._lock:
            for revision in self._revisions(name):
                self._store.delete("revisions", revision)
                self._retire(revision)
            self._store.delete("services", name)
            self._door.close(name)

    def stop(self) -> None:
        """End all containers; return when they are gone."""
        with self._lock:
            for revision in list(self._supervisors):
                self._retire(revision)
        for supervisor in self._retired:
            supervisor.join(STOP_S)

    def _settle(self, name: str) -> None:
        service, revisions = self._store.get("services", name), self._revisions(name)
        if service is None:
            return
        status = service["status"]
        created = revisions[status["latestCreatedRevisionName"]]
        if condition(created)["status"] == TRUE:
            status["latestReadyRevisionName"] = created["metadata"]["name"]
        latest = status.get("latestReadyRevisionName", created["metadata"]["name"])
        wanted = self._targets(service, latest)
        self._start(wanted + status["traffic"], revisions)
        routed, why = self._routed(wanted, status["traffic"], revisions, created)
        if routed == TRUE:
            status["traffic"] = wanted
        self._lead(name, status["traffic"])
        knative.conclude(service, created, routed, why)
        self._store.put("services", name, service)
        self._stop_unneeded(wanted + status["traffic"], revisions)

    def _targets(self, service: Json, latest: str) -> list[Json]:
        """Return where a service's traffic should go, each with its revision and address."""
        name = service["metadata"]["name"]
        targets = []
        for target in service["spec"]["traffic"]:
            resolved = {**target, "revisionName": target.get("revisionName") or latest}
            if tag := target.get("tag"):
                resolved["url"] = self._door.url(name, tag)
            targets.append(resolved)
        service["status"]["url"] = self._door.url(name)
        service["status"]["address"] = {"url": self._door.url(name)}
        return targets

    def _needed(self, targets: list[Json], revisions: Mapping[str, Json]) -> set[str]:
        """Return the revisions that must have a container: for requests, or their first test."""
        states = {name: condition(revision)["status"] for name, revision in revisions.items()}
        named = {target["revisionName"] for target in targets}
        return {
            name
            for name, state in states.items()
            if state == UNKNOWN or (state == TRUE and name in named)
        }

    def _start(self, targets: list[Json], revisions: Mapping[str, Json]) -> None:
        for name in self._needed(targets, revisions) - self._supervisors.keys():
            self._supervisors[name] = Supervisor(
                revisions[name], self._launch, self._changed, self._door.drain
            )

    def _stop_unneeded(self, targets: list[Json], revisions: Mapping[str, Json]) -> None:
        for name in revisions.keys() - self._needed(targets, revisions):
            self._retire(name)

    def _retire(self, revision: str) -> None:
        if supervisor := self._supervisors.pop(revision, None):
            supervisor.stop()
            self._retired.append(supervisor)

    def _routed(
        self, wanted: list[Json], served: list[Json], revisions: Mapping[str, Json], created: Json
    ) -> tuple[str, str]:
        """Return whether traffic can go where it should, and why not."""
        newest_is_wanted = any(target.get("latestRevision") for target in wanted)
        if newest_is_wanted and condition(created)["status"] == UNKNOWN:
            return UNKNOWN, "Deploying."
        if wanted == served:
            return TRUE, ""
        for name in (target["revisionName"] for target in wanted):
            if name not in revisions:
                return FALSE, f"Revision '{name}' does not exist."
            ready, supervisor = condition(revisions[name]), self._supervisors.get(name)
            if ready["status"] == FALSE or (supervisor and supervisor.failure):
                return FALSE, ready.get("message") or f"Revision '{name}' does not answer."
            if not (supervisor and supervisor.up):
                return UNKNOWN, f"Waiting for a container of '{name}'."
        return TRUE, ""

    def _lead(self, service: str, traffic: list[Json]) -> None:
        ports = {}
        for target in traffic:
            if supervisor := self._supervisors.get(target["revisionName"]):
                # A target may have a tag and the traffic, too.
                tags = {target.get("tag", ""), "" if target.get("percent") else target.get("tag")}
                ports.update(
                    dict.fromkeys((tag for tag in tags if tag is not None), supervisor.port)
                )
        self._door.lead(service, ports)

    def _revisions(self, service: str) -> dict[str, Json]:
        found = self._store.all("revisions")
        owned = (each for each in found if each["metadata"]["labels"][knative.SERVICE] == service)
        return {revision["metadata"]["name"]: revision for revision in owned}

    def _changed(self, supervisor: Supervisor) -> None:
        """Note what became of a container; its supervisor calls this."""
        name = supervisor.revision["metadata"]["name"]
        with self._lock:
            revision = self._store.get("revisions", name)
            if revision is None or self._supervisors.get(name) is not supervisor:
                return  # it was told to stop in the meantime
            if condition(revision)["status"] == UNKNOWN:  # one that was ready once stays so
                status = FALSE if supervisor.failure else TRUE
                message = f"Revision '{name}' is not ready and cannot serve traffic. "
                set_condition(revision, "Ready", status, message + supervisor.failure)
                self._store.put("revisions", name, revision)
            self._settle(revision["metadata"]["labels"][knative.SERVICE])


# --- requests: https://cloud.google.com/run/docs/reference/rest/v1 -------------------------------

add_policy(api, SERVICE, "services")


@api.get(f"{NAMESPACE}/services")
def list_services(_project: str) -> Json:
    return _listed("Service", part(Store).all("services"))


@api.get(f"{NAMESPACE}/services/<name>")
def get_service(_project: str, name: str) -> Json:
    return existing("services", name)


@api.post(f"{NAMESPACE}/services")
@api.put(f"{NAMESPACE}/services/<_name>")
def apply_service(**_: str) -> Json:
    """Make or change a service; with `dryRun`, only say whether it would be taken."""
    region = request.host.partition(".")[0].removesuffix("-run")  # us-central1-run.test
    wanted = knative.checked(body(), part(Store), region)
    if request.args.get("dryRun") == "all":
        return wanted
    return part(CloudRun).apply(wanted)


@api.delete(f"{NAMESPACE}/services/<name>")
def delete_service(_project: str, name: str) -> Json:
    existing("services", name)
    part(CloudRun).delete(name)
    return {"kind": "Status", "status": "Success"}


@api.get(f"{NAMESPACE}/revisions")
def list_revisions(_project: str) -> Json:
    """Answer the revisions whose labels are as asked: `name = value`, with commas between."""
    terms = request.args.get("labelSelector", "").split(",")
    wanted = dict(term.replace(" ", "").split("=", 1) for term in terms if term)
    found = part(Store).all("revisions")
    return _listed(
        "Revision", [each for each in found if wanted.items() <= each["metadata"]["labels"].items()]
    )


@api.get(f"{NAMESPACE}/revisions/<name>")
def get_revision(_project: str, name: str) -> Json:
    return existing("revisions", name)


@api.post(f"{SERVICE}:testIamPermissions")
def permissions(**_: str) -> Json:
    return {"permissions": body().get("permissions", [])}


def _listed(kind: str, items: list[Json]) -> Json:
    return {"apiVersion": knative.API, "kind": f"{kind}List", "metadata": {}, "items": items}
