"""The stand-ins' memory: JSON documents by kind and name, and who may do what with them."""

import copy
import json
import threading
import time
from typing import Any

Json = dict[str, Any]

POLICIES = "policies"
ETAG = "BwAAAAAAAAA="  # gcloud wants one and has no more than one caller to protect from


class Store:
    """Documents of one project; threads may share them, and nobody holds the stored object.

    Attributes:
        policy_s: seconds after which a changed policy is in force, as Google's is after minutes.
    """

    project_number = "100000000001"

    def __init__(self, project: str, policy_s: float = 0) -> None:
        self.project = project
        self.policy_s = policy_s
        self._earlier: dict[str, tuple[float, Json]] = {}  # until when which policy is in force
        self.operator = self.account("operator")  # whom gcloud works as
        self._lock = threading.RLock()
        self._documents: dict[tuple[str, str], Json] = {}
        owner = {"role": "roles/owner", "members": [f"serviceAccount:{self.operator}"]}
        self.put(POLICIES, "project", {"bindings": [owner]})

    def account(self, name: str) -> str:
        return f"{name}@{self.project}.iam.gserviceaccount.com"

    def get(self, kind: str, name: str) -> Json | None:
        """Return a copy of the document, or None where there is none."""
        with self._lock:
            return copy.deepcopy(self._documents.get((kind, name)))

    def put(self, kind: str, name: str, value: Json) -> None:
        """Keep a copy of the document."""
        with self._lock:
            self._documents[kind, name] = copy.deepcopy(value)

    def delete(self, kind: str, name: str) -> None:
        """Remove the document and what is kept about it by the name `<kind>/<name>`."""
        with self._lock:
            for key in list(self._documents):
                if key == (kind, name) or key[1] == f"{kind}/{name}":
                    del self._documents[key]

    def all(self, kind: str) -> list[Json]:
        """Return copies of this kind's documents, in the order of their names."""
        with self._lock:
            found = sorted(name for of, name in self._documents if of == kind)
            return [copy.deepcopy(self._documents[kind, name]) for name in found]

    def snapshot(self) -> dict[str, str]:
        """Return everything that is known, as text, to compare or to read."""
        with self._lock:
            return {"/".join(key): json.dumps(value) for key, value in self._documents.items()}

    def policy(self, resource: str) -> Json:
        """Return the policy of `project` or of `<kind>/<name>`; an empty one where none was set."""
        bindings = (self.get(POLICIES, resource) or {}).get("bindings", [])
        return {"version": 1, "etag": ETAG, "bindings": bindings}

    def set_policy(self, resource: str, wanted: Json) -> Json:
        """Keep a policy; return it."""
        bindings = [binding for binding in wanted.get("bindings", []) if binding.get("members")]
        with self._lock:
            self._earlier[resource] = (time.monotonic() + self.policy_s, self._in_force(resource))
            self.put(POLICIES, resource, {"bindings": bindings})
        return self.policy(resource)

    def _in_force(self, resource: str) -> Json:
        """Return what decides who may do what; a change is known only after a while.

        https://cloud.google.com/iam/docs/access-change-propagation
        """
        until, earlier = self._earlier.get(resource, (0.0, {}))
        return earlier if time.monotonic() < until else self.policy(resource)

    def members(self, roles: set[str], *resources: str) -> set[str]:
        """Return who has one of the roles on one of the resources, or on the project, in force."""
        return {
            member
            for resource in (*resources, "project")
            for binding in self._in_force(resource)["bindings"]
            if binding["role"] in roles
            for member in binding["members"]
        }
