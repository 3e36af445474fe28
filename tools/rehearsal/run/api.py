"""The views of Cloud Run: Knative's serving v1 as gcloud speaks it, policies and locations.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.services
"""

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import ApiError, Json, body, invalid, not_found
from tools.rehearsal.policies import policy, set_policy
from tools.rehearsal.run import revisions, services
from tools.rehearsal.run.cloud import CloudRun
from tools.rehearsal.run.derived import configuration, route
from tools.rehearsal.run.place import Place
from tools.rehearsal.run.selector import matches

NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/<project>"
LOCATIONS = "/v1/projects/<project>/locations"
# A few of Google's; a service may be put into any other as well.
REGIONS = ("europe-west1", "northamerica-northeast1", "us-central1")


def blueprint(cloud: CloudRun) -> Blueprint:
    """Return all the views."""
    api = Blueprint("run", __name__)
    _add_services(api, cloud)
    _add_changes(api, cloud)
    _add_revisions(api, cloud)
    _add_derived(api, cloud)
    _add_policies(api, cloud)
    _add_locations(api, cloud)
    return api


def _add_services(api: Blueprint, cloud: CloudRun) -> None:
    @api.get(f"{NAMESPACE}/services")
    def list_services(project: str) -> Response:
        return _listed(cloud, services.KIND, _place(project))

    @api.get(f"{NAMESPACE}/services/<name>")
    def get_service(project: str, name: str) -> Response:
        return jsonify(services.existing(cloud.store, _place(project), name))

    @api.get(f"{LOCATIONS}/<region>/services")
    def list_everywhere(project: str, region: str) -> Response:
        return _listed(cloud, services.KIND, Place(project, region))

    @api.get(f"{LOCATIONS}/<region>/services/<name>")
    def get_by_location(project: str, region: str, name: str) -> Response:
        return jsonify(services.existing(cloud.store, Place(project, region), name))


def _add_changes(api: Blueprint, cloud: CloudRun) -> None:
    @api.post(f"{NAMESPACE}/services")
    def create(project: str) -> Response:
        return _changed(cloud, _place(project), new=True)

    @api.put(f"{NAMESPACE}/services/<name>")
    def replace(project: str, name: str) -> Response:
        if body().get("metadata", {}).get("name") != name:
            raise invalid(f"metadata.name: it must be {name!r}, as in the address")
        return _changed(cloud, _place(project), new=False)

    @api.delete(f"{NAMESPACE}/services/<name>")
    def delete(project: str, name: str) -> Response:
        place = _place(project)
        with cloud.lock:
            services.delete(cloud.store, place, name)
            cloud.settle(place.key(name))
        return jsonify(kind="Status", status="Success")


def _changed(cloud: CloudRun, place: Place, *, new: bool) -> Response:
    """Store what the request wants, and begin to bring it about."""
    dry = request.args.get("dryRun") == "all"
    act = services.create if new else services.replace
    with cloud.lock:
        service = act(cloud.store, place, body(), dry=dry)
        if dry:
            return jsonify(service)
        name = service["metadata"]["name"]
        cloud.settle(place.key(name))
        return jsonify(services.existing(cloud.store, place, name))


def _add_revisions(api: Blueprint, cloud: CloudRun) -> None:
    @api.get(f"{NAMESPACE}/revisions")
    def list_revisions(project: str) -> Response:
        return _listed(cloud, revisions.KIND, _place(project))

    @api.get(f"{NAMESPACE}/revisions/<name>")
    def get_revision(project: str, name: str) -> Response:
        document = cloud.store.get(revisions.KIND, _place(project).key(name))
        if document is None:
            raise not_found(f"Revision '{name}' does not exist.")
        return jsonify(document)

    @api.delete(f"{NAMESPACE}/revisions/<name>")
    def delete_revision(project: str, name: str) -> Response:
        with cloud.lock:
            services.delete_revision(cloud.store, _place(project), name)
        return jsonify(kind="Status", status="Success")


def _add_derived(api: Blueprint, cloud: CloudRun) -> None:
    @api.get(f"{NAMESPACE}/configurations/<name>")
    def get_configuration(project: str, name: str) -> Response:
        return jsonify(configuration(services.existing(cloud.store, _place(project), name)))

    @api.get(f"{NAMESPACE}/configurations")
    def list_configurations(project: str) -> Response:
        found = _selected(cloud, services.KIND, _place(project))
        return jsonify(kind="ConfigurationList", items=[configuration(each) for each in found])

    @api.get(f"{NAMESPACE}/routes/<name>")
    def get_route(project: str, name: str) -> Response:
        return jsonify(route(services.existing(cloud.store, _place(project), name)))

    @api.get(f"{NAMESPACE}/routes")
    def list_routes(project: str) -> Response:
        found = _selected(cloud, services.KIND, _place(project))
        return jsonify(kind="RouteList", items=[route(each) for each in found])


def _add_policies(api: Blueprint, cloud: CloudRun) -> None:
    one = f"{LOCATIONS}/<region>/services/<name>"

    @api.get(f"{one}:getIamPolicy")
    def get_policy(project: str, region: str, name: str) -> Response:
        place = Place(project, region)
        services.existing(cloud.store, place, name)
        return jsonify(policy(cloud.store, services.resource(place, name)))

    @api.post(f"{one}:setIamPolicy")
    def put_policy(project: str, region: str, name: str) -> Response:
        place = Place(project, region)
        with cloud.lock:
            services.existing(cloud.store, place, name)
            kept = set_policy(cloud.store, services.resource(place, name))
            cloud.settle(place.key(name))
        return jsonify(kept)

    @api.post(f"{one}:testIamPermissions")
    def test_permissions(project: str, region: str, name: str) -> Response:
        services.existing(cloud.store, Place(project, region), name)
        return jsonify(permissions=body().get("permissions", []))


def _add_locations(api: Blueprint, cloud: CloudRun) -> None:
    @api.get(LOCATIONS)
    def locations(project: str) -> Response:
        used = {Place.of(key).region for key in cloud.store.names(services.KIND)}
        return jsonify(
            locations=[
                {"name": f"projects/{project}/locations/{region}", "locationId": region}
                for region in sorted({*REGIONS, *used})
            ]
        )


def _listed(cloud: CloudRun, kind: str, place: Place) -> Response:
    items = _selected(cloud, kind, place)
    name = "ServiceList" if kind == services.KIND else "RevisionList"
    return jsonify(apiVersion="serving.knative.dev/v1", kind=name, metadata={}, items=items)


def _selected(cloud: CloudRun, kind: str, place: Place) -> list[Json]:
    """Return the resources of a place that the request's selector picks."""
    keys = filter(place.holds, cloud.store.names(kind))
    documents = filter(None, (cloud.store.get(kind, key) for key in keys))
    selector = request.args.get("labelSelector", "")
    return [each for each in documents if matches(each, selector)]


def _place(project: str) -> Place:
    """Return the place that the request's host stands for: `us-central1-run.test`."""
    region = request.host.partition(".")[0].removesuffix("run").removesuffix("-")
    if not region:
        message = f"The rehearsal answers this at a region's host: {request.method} {request.path}"
        raise ApiError(501, message)
    return Place(project, region)
