"""What a service account may do, by its roles on a thing or on the project."""

from tools.rehearsal.policies import members
from tools.rehearsal.store import Store

_EVERYTHING = {"roles/editor", "roles/owner", "roles/cloudbuild.builds.builder"}
# The roles that have storage.objects.get (IAM's reference of roles and permissions).
READ_OBJECTS = _EVERYTHING | {
    "roles/storage.admin",
    "roles/storage.objectAdmin",
    "roles/storage.objectUser",
    "roles/storage.objectViewer",
}
# The roles that have artifactregistry.repositories.uploadArtifacts.
WRITE_IMAGES = _EVERYTHING | {
    "roles/artifactregistry.admin",
    "roles/artifactregistry.createOnPushWriter",
    "roles/artifactregistry.repoAdmin",
    "roles/artifactregistry.writer",
}


def may(store: Store, email: str, roles: set[str], *resources: str) -> bool:
    """Return whether an account has one of the roles on one of the resources.

    No account at all is Google's default one, which may do what builds need.
    """
    member = f"serviceAccount:{email}"
    found = (members(store, resource, role) for resource in resources for role in sorted(roles))
    return not email or any(member in each for each in found)
