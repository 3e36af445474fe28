"""Billing: every project of the rehearsal has an account, and nothing is ever charged."""

from flask import Blueprint, Response, jsonify

from tools.rehearsal.projects import project_of
from tools.rehearsal.state import store

api = Blueprint("billing", __name__)


@api.get("/v1/projects/<project>/billingInfo")
def billing_info(project: str) -> Response:
    """Answer that billing is enabled."""
    name = project_of(store(), project)["projectId"]
    return jsonify(
        name=f"projects/{name}/billingInfo",
        projectId=name,
        billingAccountName="billingAccounts/000000-000000-000000",
        billingEnabled=True,
    )
