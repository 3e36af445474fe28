"""What Cloud Run refuses before it makes a revision, so that the rehearsal refuses it too."""

import re

from tools.rehearsal.answers import invalid
from tools.rehearsal.store import Document

# https://cloud.google.com/run/docs/deploying#limitations
NAME = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
WHOLE_PERCENT = 100
# https://cloud.google.com/run/docs/container-contract#env-vars
RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
# Most memory for so many CPUs: https://cloud.google.com/run/docs/configuring/services/memory-limits
MOST_GIB = {1: 4, 2: 8, 4: 16, 8: 32}
MOST_TIMEOUT_S = 3600  # https://cloud.google.com/run/docs/configuring/request-timeout
MOST_CONCURRENCY = 1000  # https://cloud.google.com/run/docs/about-concurrency
UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def check_service(service: Document) -> None:
    """Refuse a service that Cloud Run would not take.

    Raises:
        ApiError: 400; the message says which field and why.
    """
    name = service["metadata"].get("name", "")
    if not NAME.fullmatch(name):
        raise invalid(
            f"metadata.name: {name!r} is not a service name: lower case letters, digits and "
            "hyphens, starting with a letter, not ending in a hyphen, at most 49 characters"
        )
    containers = service["spec"]["template"]["spec"].get("containers", [])
    if len(containers) != 1:
        raise invalid("spec.template.spec.containers: the rehearsal runs exactly one container")
    _check_container(containers[0])
    _check_template(service["spec"]["template"]["spec"])
    _check_traffic(service["spec"]["traffic"])


def _check_container(container: Document) -> None:
    if not container.get("image"):
        raise invalid("spec.template.spec.containers[0].image: the image is missing")
    reserved = sorted(RESERVED & {each["name"] for each in container.get("env", [])})
    if reserved:
        raise invalid(
            "spec.template.spec.containers[0].env: The following reserved env names were "
            f"provided: {', '.join(reserved)}. These values are automatically set by the system."
        )
    limits = container["resources"]["limits"]
    cpus, memory = cpu_count(limits["cpu"]), memory_bytes(limits["memory"])
    most_gib = next((gib for cpu, gib in MOST_GIB.items() if cpus <= cpu), 0)
    if memory > most_gib * 2**30:
        raise invalid(
            "spec.template.spec.containers[0].resources.limits: "
            f"{limits['memory']} of memory is more than {limits['cpu']} CPU may have"
        )


def _check_template(template: Document) -> None:
    if template["timeoutSeconds"] > MOST_TIMEOUT_S:
        raise invalid("spec.template.spec.timeoutSeconds: at most 3600")
    if template["containerConcurrency"] > MOST_CONCURRENCY:
        raise invalid("spec.template.spec.containerConcurrency: at most 1000")


def _check_traffic(traffic: list[Document]) -> None:
    total = sum(each.get("percent") or 0 for each in traffic)
    if total != WHOLE_PERCENT:
        raise invalid(f"spec.traffic: the percentages add up to {total}, not to 100")
    tags = [each["tag"] for each in traffic if each.get("tag")]
    if len(tags) != len(set(tags)):
        raise invalid("spec.traffic: a tag is used twice")
    bad = [tag for tag in tags if not NAME.fullmatch(tag)]
    if bad:
        raise invalid(f"spec.traffic: {bad[0]!r} is not a tag: lower case letters, digits, hyphens")
    both = [each for each in traffic if bool(each.get("latestRevision")) == bool(_named(each))]
    if both:
        raise invalid("spec.traffic: each target names a revision or is the latest one")


def _named(target: Document) -> str:
    name: str = target.get("revisionName") or ""
    return name


def cpu_count(text: str) -> float:
    """Return how many CPUs `2` or `500m` means."""
    try:
        return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except ValueError as exc:
        raise invalid(f"resources.limits.cpu: {text!r} is not a number of CPUs") from exc


def memory_bytes(text: str) -> int:
    """Return how many bytes `512Mi` means."""
    found = re.fullmatch(r"(\d+)([kMG]|[KMG]i)?", text)
    if found is None:
        raise invalid(f"resources.limits.memory: {text!r} is not an amount of memory")
    return int(found[1]) * UNITS[found[2] or ""]
