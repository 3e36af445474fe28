"""Resource Manager: the project and who may do what in it."""

from flask import Blueprint, Response, jsonify

from tools.rehearsal.answers import Json, body, invalid
from tools.rehearsal.apis.iam import account_exists
from tools.rehearsal.policies import policy, set_policy
from tools.rehearsal.projects import project_of
from tools.rehearsal.state import store

api = Blueprint("resourcemanager", __name__)


@api.get("/v1/projects/<project>")
def get(project: str) -> Response:
    """Answer the project."""
    return jsonify(project_of(store(), project))


@api.post("/v1/projects/<project>:getIamPolicy")
def get_policy(project: str) -> Response:
    """Answer the project's policy."""
    return jsonify(policy(store(), _resource(project)))


@api.post("/v1/projects/<project>:setIamPolicy")
def put_policy(project: str) -> Response:
    """Keep the project's policy; a new member must exist, as Google asks."""
    before = _members(policy(store(), _resource(project)))
    for member in sorted(_members(body().get("policy", {})) - before):
        kind, _, email = member.partition(":")
        if kind == "serviceAccount" and not account_exists(store(), email):
            raise invalid(f"Service account {email} does not exist.")
    return jsonify(set_policy(store(), _resource(project)))


def _resource(project: str) -> str:
    return f"projects/{project_of(store(), project)['projectId']}"


def _members(wanted: Json) -> set[str]:
    return {member for each in wanted.get("bindings", []) for member in each.get("members", [])}
