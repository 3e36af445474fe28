"""The metadata server of a service account: who a container is, and tokens that prove it.

https://cloud.google.com/run/docs/container-contract#metadata-server
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, jsonify, request

from tools.rehearsal.answers import ApiError
from tools.rehearsal.apis.oauth import LIFETIME_S, id_token
from tools.rehearsal.projects import project_number

# https://cloud.google.com/compute/docs/metadata/querying-metadata: the header that shows that
# the caller means it, and that the answer is from a metadata server.
FLAVOUR = {"Metadata-Flavor": "Google"}
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
ACCOUNTS = "instance/service-accounts/"


@dataclass(frozen=True)
class Account:
    """Whose metadata server it is, and where its containers run."""

    project: str
    region: str
    email: str

    def answers(self, keys: Path) -> dict[str, Callable[[], str | Response]]:
        """Return what answers each path below `computeMetadata/v1/`.

        Args:
            keys: the rehearsal's folder, which holds the key of its tokens.
        """
        number = project_number(self.project)
        own = f"{ACCOUNTS}default/"
        return {
            "project/project-id": lambda: self.project,
            "project/numeric-project-id": lambda: number,
            "instance/region": lambda: f"projects/{number}/regions/{self.region}",
            own: self._about,
            f"{own}email": lambda: self.email,
            f"{own}scopes": lambda: "\n".join(SCOPES),
            f"{own}token": _access_token,
            f"{own}identity": lambda: self._identity(keys),
        }

    def _about(self) -> Response:
        return jsonify(aliases=["default"], email=self.email, scopes=SCOPES)

    def _identity(self, keys: Path) -> Response:
        audience = request.args.get("audience", "")
        if not audience:
            raise ApiError(400, "non-empty audience parameter required")
        return Response(id_token(keys, self.email, audience), mimetype="text/plain")


def _access_token() -> Response:
    access = f"rehearsal.{secrets.token_urlsafe(24)}"
    return jsonify(access_token=access, expires_in=LIFETIME_S, token_type="Bearer")  # noqa: S106  the kind


def blueprint(keys: Path) -> Blueprint:
    """Return the views of all accounts, each below a path of its own."""
    views = Blueprint("metadata", __name__, url_prefix="/metadata/<project>/<region>/<email>")

    @views.get("/")
    def root(**account: str) -> str:
        """Answer what google-auth asks to learn whether there is a metadata server."""
        return "computeMetadata/\n" if account else ""

    @views.get("/computeMetadata/v1/<path:what>")
    def metadata(project: str, region: str, email: str, what: str) -> str | Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return Response("Missing Metadata-Flavor:Google header.", 403)
        account = Account(project, region, email)
        named = what.replace(f"{ACCOUNTS}{email}/", f"{ACCOUNTS}default/")
        answer = account.answers(keys).get(named)
        return answer() if answer else Response(f"The rehearsal has no metadata {what!r}", 404)

    @views.after_request
    def from_metadata_server(answer: Response) -> Response:
        answer.headers.update(FLAVOUR)
        if answer.mimetype == "text/html":  # Flask's own choice for a string
            answer.mimetype = "application/text"
        return answer

    return views
