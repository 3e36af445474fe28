"""Projects: the one the rehearsal works in, and no other."""

import hashlib

from tools.rehearsal.answers import ApiError, now
from tools.rehearsal.store import Document, Store

KIND = "projects"


def add_project(store: Store, project: str) -> None:
    """Make the project, unless it is there."""
    if store.get(KIND, project) is None:
        store.put(
            KIND,
            project,
            {
                "projectId": project,
                "projectNumber": project_number(project),
                "name": project,
                "lifecycleState": "ACTIVE",
                "createTime": now(),
            },
        )


def project_number(project: str) -> str:
    """Return the project's number: twelve digits, always the same for a name."""
    digest = hashlib.sha256(project.encode()).digest()
    return str(10**11 + int.from_bytes(digest[:8]) % (9 * 10**11))


def project_of(store: Store, name: str) -> Document:
    """Return the project with this id or number.

    Raises:
        ApiError: 403, which is also what Google says of a project that does not exist.
    """
    for project in store.names(KIND):
        if name in {project, project_number(project)}:
            found = store.get(KIND, project)
            if found is not None:
                return found
    message = f"The caller does not have permission on project {name!r} (or it may not exist)."
    raise ApiError(403, message)
