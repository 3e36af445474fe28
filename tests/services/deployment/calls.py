"""The gcloud and curl command lines that scripts are expected to make."""

from tests.services.deployment.project import IMAGES, PROJECT, REGION, REMOTE

WHERE = [f"--project={PROJECT}", f"--region={REGION}"]
LOCATION = [f"--project={PROJECT}", f"--location={REGION}"]
BUILD_ACCOUNT = f"imgserve-build@{PROJECT}.iam.gserviceaccount.com"
RUN_ACCOUNT = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
BUCKET = f"gs://{PROJECT}-imgserve-source"


def submit(component: str, base: str, app: str, revision: str, models: str = "") -> list[str]:
    """Return the call that begins a build."""
    given = f"_BASE_IMAGE_URI={IMAGES}/{base}|_APP_URI={IMAGES}/{app}|_SOURCE={REMOTE}"
    given += f"|_REVISION={revision}" + (f"|_MODELS={models}" if models else "")
    return [
        *("gcloud", "builds", "submit", "ROOT", *WHERE),
        f"--config=ROOT/deployment/cloudbuild_{component}.yaml",
        f"--substitutions=^|^{given}",
        f"--service-account=projects/{PROJECT}/serviceAccounts/{BUILD_ACCOUNT}",
        f"--gcs-source-staging-dir={BUCKET}/source",
        *("--async", "--format=value(id)"),
    ]


def describe(build: str) -> list[str]:
    """Return the call that asks how a build stands."""
    return [
        *("gcloud", "builds", "describe", build, *WHERE),
        *("--flatten=steps", "--format=value(status,steps.status,steps.id)"),
    ]


def field(service: str, name: str) -> list[str]:
    """Return the call that asks for a field of a service."""
    return [
        *("gcloud", "run", "services", "list", *WHERE),
        *(f"--filter=metadata.name={service}", "--verbosity=error", f"--format=value({name})"),
    ]


def url(service: str) -> list[str]:
    """Return the call that asks where a service answers."""
    return field(service, "status.url")


def exists(service: str) -> list[str]:
    """Return the call that asks whether a service is there."""
    return field(service, "metadata.name")


def ready_revision(service: str) -> list[str]:
    """Return the call that asks whether a service has anything to serve."""
    return field(service, "status.latestReadyRevisionName")


def tag_url(service: str, tag: str) -> list[str]:
    """Return the call that asks where a revision answers by its tag."""
    return [
        *("gcloud", "run", "services", "list", *WHERE, "--flatten=status.traffic[]"),
        f"--filter=metadata.name={service} AND status.traffic.tag={tag}",
        "--verbosity=error",
        "--format=value(status.traffic.url)",
    ]


def policy(service: str) -> list[str]:
    """Return the call that asks whether everyone may call a service."""
    return [
        *("gcloud", "run", "services", "get-iam-policy", service, *WHERE),
        "--flatten=bindings[].members[]",
        "--filter=bindings.role=roles/run.invoker AND bindings.members=allUsers",
        "--verbosity=error",
        "--format=value(bindings.members)",
    ]


def update_traffic(service: str, *changes: str) -> list[str]:
    """Return the call that moves a service's traffic or tags."""
    call = ["gcloud", "run", "services", "update-traffic", service, *WHERE]
    return [*call, *changes, "--format=none"]


def binding(verb: str, service: str, member: str) -> list[str]:
    """Return the call that adds or removes somebody who may call a service."""
    return [
        *("gcloud", "run", "services", f"{verb}-iam-policy-binding", service, *WHERE),
        *(f"--member={member}", "--role=roles/run.invoker", "--format=none"),
    ]


def allow_frontends(service: str) -> list[str]:
    """Return the call that lets the frontends call a private service."""
    return binding("add", service, f"serviceAccount:{RUN_ACCOUNT}")


def make_private(service: str) -> list[list[str]]:
    """Return the calls after which only the frontends may call a service that was public."""
    return [allow_frontends(service), binding("remove", service, "allUsers")]


def curl(*words: str) -> list[str]:
    """Return the call that asks a service for something."""
    usual = ["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--header", "@-"]
    return ["curl", *usual, *words]


PICTURE = ("--form", "image=@ROOT/imgserve/samples/cat.jpg")
