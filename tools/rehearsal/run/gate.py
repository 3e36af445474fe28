"""Who may call a private service: the bearer of an ID token for it who has the role.

https://cloud.google.com/run/docs/authenticating/service-to-service
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from tools.rehearsal.apis.oauth import checked, server_key
from tools.rehearsal.policies import members
from tools.rehearsal.run.place import Place, name_of
from tools.rehearsal.run.services import resource
from tools.rehearsal.store import Store

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

INVOKER = "roles/run.invoker"
# Those on the project that also have run.routes.invoke (IAM's reference of roles and permissions).
WIDER = ("roles/run.admin", "roles/editor", "roles/owner")
EVERYONE = "allUsers"
# gcloud's own: `gcloud auth print-identity-token` without --audiences makes tokens for it, and
# https://cloud.google.com/run/docs/authenticating/developers sends them to services.
GCLOUD_AUDIENCE = "32555940559.apps.googleusercontent.com"
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403


def is_private(store: Store, key: str) -> bool:
    """Return whether callers of a service must say who they are."""
    return EVERYONE not in _invokers(store, key)


def decision(store: Store, key: str, headers: "Headers", audiences: Collection[str]) -> int:
    """Return 200, 401 for a token that is not good, 403 for a caller who may not.

    Args:
        store: where policies and keys are.
        key: the service's.
        headers: of the request.
        audiences: the service's own URLs.
    """
    # The first is for callers whose Authorization means something to the service itself.
    given = headers.get("X-Serverless-Authorization") or headers.get("Authorization", "")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        return FORBIDDEN
    claims = checked(token.strip(), server_key(store.folder.parent))
    if claims is None or claims["aud"] not in {*audiences, GCLOUD_AUDIENCE}:
        return UNAUTHORIZED
    who = {f"serviceAccount:{claims['email']}", f"user:{claims['email']}", "allAuthenticatedUsers"}
    return OK if who & _invokers(store, key) else FORBIDDEN


def _invokers(store: Store, key: str) -> set[str]:
    place = Place.of(key)
    own = members(store, resource(place, name_of(key)), INVOKER)
    return own.union(
        *(members(store, f"projects/{place.project}", each) for each in (INVOKER, *WIDER))
    )
