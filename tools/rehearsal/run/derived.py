"""The two halves into which Knative divides a service, made from it when somebody asks."""

from tools.rehearsal.run.conditions import Verdict, write
from tools.rehearsal.store import Document


def configuration(service: Document) -> Document:
    """Return the half that says what runs."""
    names = ("latestCreatedRevisionName", "latestReadyRevisionName")
    status = {name: service["status"][name] for name in names if name in service["status"]}
    spec = {"template": service["spec"]["template"]}
    return _half(service, "Configuration", spec, status, "ConfigurationsReady")


def route(service: Document) -> Document:
    """Return the half that says who gets the traffic."""
    names = ("url", "address", "traffic")
    status = {name: service["status"][name] for name in names if name in service["status"]}
    return _half(service, "Route", {"traffic": service["spec"]["traffic"]}, status, "RoutesReady")


def _half(service: Document, kind: str, spec: Document, status: Document, ready: str) -> Document:
    observed = {"observedGeneration": service["status"]["observedGeneration"]}
    document: Document = {
        "apiVersion": service["apiVersion"],
        "kind": kind,
        "metadata": service["metadata"],
        "spec": spec,
        "status": status | observed,
    }
    write(document, "Ready", Verdict.of(service, ready))
    return document
