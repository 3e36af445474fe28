"""What Cloud Run fills in where a service leaves it open.

https://cloud.google.com/run/docs/reference/rest/v1/RevisionSpec and the pages it links to.
"""

import json

from tools.rehearsal.projects import project_number
from tools.rehearsal.run.conditions import now
from tools.rehearsal.run.place import Place
from tools.rehearsal.store import Document

PORT = 8080
CONCURRENCY = 80  # requests at once: https://cloud.google.com/run/docs/about-concurrency
TIMEOUT_S = 300  # https://cloud.google.com/run/docs/configuring/request-timeout
LIMITS = {"cpu": "1000m", "memory": "512Mi"}
# https://cloud.google.com/run/docs/configuring/healthchecks#tcp-startup-probe-defaults
STARTUP = {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1}
PROBE = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10, "failureThreshold": 3}


def fill_service(service: Document, place: Place) -> None:
    """Complete a service's metadata and spec in place."""
    metadata, spec = service["metadata"], service["spec"]
    service.setdefault("apiVersion", "serving.knative.dev/v1")
    service.setdefault("kind", "Service")
    metadata["namespace"] = place.project
    metadata.setdefault("labels", {})["cloud.googleapis.com/location"] = place.region
    metadata.setdefault("annotations", {}).setdefault("run.googleapis.com/ingress", "all")
    metadata["annotations"]["run.googleapis.com/ingress-status"] = metadata["annotations"][
        "run.googleapis.com/ingress"
    ]
    spec["traffic"] = spec.get("traffic") or [{"latestRevision": True, "percent": 100}]
    _fill_template(spec["template"].setdefault("spec", {}), place.project)


def _fill_template(template: Document, project: str) -> None:
    template["containerConcurrency"] = template.get("containerConcurrency") or CONCURRENCY
    template["timeoutSeconds"] = template.get("timeoutSeconds") or TIMEOUT_S
    template["serviceAccountName"] = (
        template.get("serviceAccountName")
        or f"{project_number(project)}-compute@developer.gserviceaccount.com"
    )
    for container in template.get("containers", []):
        _fill_container(container)


def _fill_container(container: Document) -> None:
    ports = container.get("ports") or [{}]
    ports[0].setdefault("name", "http1")
    ports[0].setdefault("containerPort", PORT)
    container["ports"] = ports
    limits = container.setdefault("resources", {}).get("limits") or {}
    container["resources"]["limits"] = LIMITS | limits
    probe = container.get("startupProbe") or dict(STARTUP)
    container["startupProbe"] = PROBE | probe
    container["startupProbe"].setdefault("initialDelaySeconds", 0)
    for each in (container["startupProbe"], container.get("livenessProbe")):
        if each is not None:
            _fill_probe(each, ports[0]["containerPort"])


def _fill_probe(probe: Document, port: int) -> None:
    for name, value in PROBE.items():
        probe.setdefault(name, value)
    kind = next((each for each in ("httpGet", "grpc") if each in probe), "tcpSocket")
    probe[kind] = {"port": port} | (probe.get(kind) or {})
    if kind == "httpGet":
        probe[kind].setdefault("path", "/")


def stamp(service: Document, url: str) -> None:
    """Note when a service was made and where it answers."""
    metadata = service["metadata"]
    metadata.setdefault("creationTimestamp", now())
    metadata["annotations"]["run.googleapis.com/urls"] = json.dumps([url])
