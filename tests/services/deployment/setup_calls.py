"""The gcloud calls that look for, make and delete what setup.sh makes."""

from tests.services.deployment.calls import BUCKET, BUILD_ACCOUNT, LOCATION, RUN_ACCOUNT, WHERE
from tests.services.deployment.project import APIS, PROJECT, Project

IN = f"--project={PROJECT}"
HAS = {
    "repository": ["gcloud", "artifacts", "repositories", "describe", "imgserve", *LOCATION],
    "bucket": ["gcloud", "storage", "buckets", "describe", BUCKET, IN],
    "builder": ["gcloud", "iam", "service-accounts", "describe", BUILD_ACCOUNT, IN],
    "runner": ["gcloud", "iam", "service-accounts", "describe", RUN_ACCOUNT, IN],
    "secret": ["gcloud", "secrets", "describe", "imgserve-key", IN],
}
ENABLE = ["gcloud", "services", "enable", *(f"{api}.googleapis.com" for api in APIS), IN]
MAKE = {
    "repository": [
        *("gcloud", "artifacts", "repositories", "create", "imgserve", *LOCATION),
        *("--repository-format=docker", "--description=Images of imgserve"),
    ],
    "bucket": [
        *("gcloud", "storage", "buckets", "create", BUCKET, *LOCATION),
        *("--uniform-bucket-level-access", "--public-access-prevention"),
        "--lifecycle-file=ROOT/deployment/source_lifecycle.json",
    ],
    "builder": [
        *("gcloud", "iam", "service-accounts", "create", "imgserve-build", IN),
        "--display-name=imgserve-build",
    ],
    "runner": [
        *("gcloud", "iam", "service-accounts", "create", "imgserve-run", IN),
        "--display-name=imgserve-run",
    ],
    "secret": [
        *("gcloud", "secrets", "create", "imgserve-key", IN),
        *("--replication-policy=automatic", "--data-file=-"),
    ],
}
LOGS = [
    f"--member=serviceAccount:{BUILD_ACCOUNT}",
    *("--role=roles/logging.logWriter", "--condition=None", "--format=none"),
]
GRANT = [
    ["gcloud", "projects", "add-iam-policy-binding", PROJECT, *LOGS],
    [
        *("gcloud", "artifacts", "repositories", "add-iam-policy-binding", "imgserve", *LOCATION),
        f"--member=serviceAccount:{BUILD_ACCOUNT}",
        *("--role=roles/artifactregistry.writer", "--format=none"),
    ],
    [
        *("gcloud", "storage", "buckets", "add-iam-policy-binding", BUCKET, IN),
        f"--member=serviceAccount:{BUILD_ACCOUNT}",
        *("--role=roles/storage.objectViewer", "--format=none"),
    ],
    [
        *("gcloud", "secrets", "add-iam-policy-binding", "imgserve-key", IN),
        f"--member=serviceAccount:{RUN_ACCOUNT}",
        *("--role=roles/secretmanager.secretAccessor", "--format=none"),
    ],
]
OURS = [
    *("gcloud", "run", "services", "list", *WHERE),
    f"--filter=spec.template.spec.serviceAccountName={RUN_ACCOUNT}",
    "--verbosity=error",
    "--format=value(metadata.name)",
]
DELETE_SERVICES = [
    ["gcloud", "run", "services", "delete", service, *WHERE, "--quiet"]
    for service in ("backend-v1", "frontend-v1")
]
DELETE = {
    "repository": [
        "gcloud",
        "artifacts",
        "repositories",
        "delete",
        "imgserve",
        *LOCATION,
        "--quiet",
    ],
    "bucket": ["gcloud", "storage", "rm", BUCKET, IN, "--recursive"],
    "secret": ["gcloud", "secrets", "delete", "imgserve-key", IN, "--quiet"],
    "role": ["gcloud", "projects", "remove-iam-policy-binding", PROJECT, *LOGS],
    "builder": ["gcloud", "iam", "service-accounts", "delete", BUILD_ACCOUNT, IN, "--quiet"],
    "runner": ["gcloud", "iam", "service-accounts", "delete", RUN_ACCOUNT, IN, "--quiet"],
}


def nothing_there(project: Project) -> None:
    """Make a project of which nothing is made yet."""
    project.answer("gcloud", "describe", status=1, complains="ERROR: NOT_FOUND\n")
