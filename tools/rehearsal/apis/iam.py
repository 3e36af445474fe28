"""IAM: the service accounts of a project."""

import hashlib
import re

from flask import Blueprint, Response, jsonify

from tools.rehearsal.answers import Json, already_exists, body, invalid, not_found
from tools.rehearsal.policies import forget_policy, policy, set_policy
from tools.rehearsal.projects import project_of
from tools.rehearsal.state import store
from tools.rehearsal.store import Store

api = Blueprint("iam", __name__)

KIND = "service-accounts"
ACCOUNTS = "/v1/projects/<project>/serviceAccounts"
ACCOUNT = "/v1/projects/<_project>/serviceAccounts/<email>"
# The form that Google asks for: 6 to 30 characters (IAM, "Create service accounts").
ACCOUNT_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


@api.post(ACCOUNTS)
def create(project: str) -> Response:
    """Make a service account."""
    project_of(store(), project)
    account_id = body().get("accountId", "")
    if not ACCOUNT_ID.fullmatch(account_id):
        raise invalid(f"The account ID {account_id!r} does not have a length between 6 and 30.")
    email = f"{account_id}@{project}.iam.gserviceaccount.com"
    if store().get(KIND, email):
        raise already_exists(f"Service account {account_id} already exists within {project}.")
    account = _account(project, email) | body().get("serviceAccount", {})
    store().put(KIND, email, account)
    return jsonify(account)


@api.get(ACCOUNTS)
def list_accounts(project: str) -> Response:
    """Answer the project's service accounts."""
    project_of(store(), project)
    return jsonify(accounts=[store().get(KIND, email) for email in store().names(KIND)])


@api.get(ACCOUNT)
def get(_project: str, email: str) -> Response:
    """Answer one service account."""
    return jsonify(_existing(store(), email))


@api.delete(ACCOUNT)
def delete(_project: str, email: str) -> Response:
    """Remove a service account; policies that name it keep its name, as Google's do."""
    _existing(store(), email)
    store().delete(KIND, email)
    forget_policy(store(), email)
    return jsonify({})


@api.post(f"{ACCOUNT}:getIamPolicy")
def get_policy(_project: str, email: str) -> Response:
    """Answer who may use the account."""
    _existing(store(), email)
    return jsonify(policy(store(), email))


@api.post(f"{ACCOUNT}:setIamPolicy")
def put_policy(_project: str, email: str) -> Response:
    """Keep who may use the account."""
    _existing(store(), email)
    return jsonify(set_policy(store(), email))


def account_exists(accounts: Store, email: str) -> bool:
    """Return whether there is a service account of this name."""
    return accounts.get(KIND, email) is not None


def _existing(accounts: Store, email: str) -> Json:
    account = accounts.get(KIND, email)
    if account is None:
        raise not_found(f"Unknown service account: {email}")
    return account


def _account(project: str, email: str) -> Json:
    number = str(10**20 + int.from_bytes(hashlib.sha256(email.encode()).digest()[:8]))
    return {
        "name": f"projects/{project}/serviceAccounts/{email}",
        "projectId": project,
        "uniqueId": number,
        "email": email,
        "oauth2ClientId": number,
    }
