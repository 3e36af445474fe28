"""Artifact Registry: the repositories; their images are in a real registry."""

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import Json, already_exists, body, finished, not_found, now
from tools.rehearsal.policies import forget_policy, policy, set_policy
from tools.rehearsal.projects import project_of
from tools.rehearsal.state import store
from tools.rehearsal.store import Store

api = Blueprint("artifactregistry", __name__)

KIND = "repositories"
REPOSITORIES = "/v1/projects/<project>/locations/<location>/repositories"
REPOSITORY_TYPE = "google.devtools.artifactregistry.v1.Repository"


@api.post(REPOSITORIES)
def create(project: str, location: str) -> Response:
    """Make a repository."""
    project_of(store(), project)
    name = _name(project, location, request.args.get("repositoryId", ""))
    if store().get(KIND, name):
        raise already_exists("the repository already exists")
    made = {**body(), "name": name, "createTime": now(), "updateTime": now()}
    store().put(KIND, name, made)
    return jsonify(_done(project, location, made, REPOSITORY_TYPE))


@api.get(REPOSITORIES)
def list_repositories(project: str, location: str) -> Response:
    """Answer the repositories of a place."""
    names = store().names(KIND)
    here = [name for name in names if name.startswith(_name(project, location, ""))]
    return jsonify(repositories=[store().get(KIND, name) for name in here])


@api.get(f"{REPOSITORIES}/<repository>")
def get(project: str, location: str, repository: str) -> Response:
    """Answer one repository."""
    return jsonify(_existing(_name(project, location, repository)))


@api.delete(f"{REPOSITORIES}/<repository>")
def delete(project: str, location: str, repository: str) -> Response:
    """Remove a repository. Its images stay in the registry, which ends with the rehearsal."""
    name = _name(project, location, repository)
    _existing(name)
    store().delete(KIND, name)
    forget_policy(store(), name)
    return jsonify(_done(project, location, {}, "google.protobuf.Empty"))


@api.get(f"{REPOSITORIES}/<repository>:getIamPolicy")
def get_policy(project: str, location: str, repository: str) -> Response:
    """Answer the repository's policy."""
    name = _name(project, location, repository)
    _existing(name)
    return jsonify(policy(store(), name))


@api.post(f"{REPOSITORIES}/<repository>:setIamPolicy")
def put_policy(project: str, location: str, repository: str) -> Response:
    """Keep the repository's policy."""
    name = _name(project, location, repository)
    _existing(name)
    return jsonify(set_policy(store(), name))


@api.get("/v1/projects/<project>/locations/<location>")
def get_location(project: str, location: str) -> Response:
    """Answer that the place exists: gcloud asks before it makes a repository."""
    name = f"projects/{project}/locations/{location}"
    return jsonify(name=name, locationId=location)


def repository_of(repositories: Store, project: str, repository: str) -> str:
    """Return the whole name of a project's repository, wherever it is; empty if there is none."""
    names = {tuple(name.split("/")[1::4]): name for name in repositories.names(KIND)}
    return names.get((project, repository), "")


def _name(project: str, location: str, repository: str) -> str:
    return f"projects/{project}/locations/{location}/repositories/{repository}"


def _existing(name: str) -> Json:
    found = store().get(KIND, name)
    if found is None:
        raise not_found(f'Repository "{name}" not found')
    return found


def _done(project: str, location: str, made: Json, kind: str) -> Json:
    return finished(f"projects/{project}/locations/{location}/operations/done", made, kind)
