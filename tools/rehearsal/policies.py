"""IAM policies of anything that has one: read, and written where the etag still holds."""

from tools.rehearsal.answers import ApiError, Json, body, etag
from tools.rehearsal.store import Store

KIND = "policies"


def policy(store: Store, resource: str) -> Json:
    """Return a resource's policy with its etag; an empty one where none was set."""
    kept = store.get(KIND, resource) or {}
    bindings = kept.get("bindings", [])
    return {"version": 1, "etag": etag(bindings), "bindings": bindings}


def set_policy(store: Store, resource: str, wanted: Json | None = None) -> Json:
    """Keep the policy of the request's body (or the one given); return it.

    Raises:
        ApiError: 409 ABORTED if somebody else changed it since it was read.
    """
    wanted = body().get("policy", {}) if wanted is None else wanted
    with store.lock:
        current = policy(store, resource)["etag"]
        if wanted.get("etag", current) != current:
            raise ApiError(409, "There were concurrent policy changes. Please retry.", "ABORTED")
        bindings = [each for each in wanted.get("bindings", []) if each.get("members")]
        store.put(KIND, resource, {"bindings": bindings})
    return policy(store, resource)


def members(store: Store, resource: str, role: str) -> set[str]:
    """Return who has a role on a resource."""
    bindings = policy(store, resource)["bindings"]
    return {member for each in bindings if each["role"] == role for member in each["members"]}


def forget_policy(store: Store, resource: str) -> None:
    """Remove the policy of a resource that is no more."""
    store.delete(KIND, resource)
