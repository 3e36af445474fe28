"""The requests of `gcloud run`: https://cloud.google.com/run/docs/reference/rest/v1."""

from flask import Blueprint, request

from tools.rehearsal import knative
from tools.rehearsal.cloud_run import CloudRun
from tools.rehearsal.resources import add_policy, existing
from tools.rehearsal.store import Json, Store
from tools.rehearsal.web import body, part

api = Blueprint("run", __name__)

NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/<_project>"
SERVICE = "/v1/projects/<_project>/locations/<_region>/services/<name>"

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
