"""What the registry holds: images, and what each of their layers is for."""

from dataclasses import dataclass
from typing import Any, Literal

import requests

LIMIT_S = 60
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
COMPILES = "imgserve.compile"  # in the one step of the Dockerfiles that makes models

Purpose = Literal["base", "models", "code"]


@dataclass(frozen=True)
class Layer:
    """One layer of an image.

    Attributes:
        digest: of its compressed content.
        size_bytes: compressed, as it is stored and pulled.
        made_by: the step of the Dockerfile.
    """

    digest: str
    size_bytes: int
    made_by: str


def http() -> requests.Session:
    """Return a session that goes straight to this machine, whatever proxy is set."""
    session = requests.Session()
    session.trust_env = False
    return session


def layers(image: str) -> list[Layer]:
    """Return the layers of an image (its full name with its tag), the lowest first."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    with http() as session:
        session.headers["Accept"] = ", ".join(MANIFESTS)
        manifest = _json(session, f"http://{host}/v2/{name}/manifests/{tag}")
        about = _json(session, f"http://{host}/v2/{name}/blobs/{manifest['config']['digest']}")
    steps = [step for step in about["history"] if not step.get("empty_layer")]
    return [
        Layer(layer["digest"], layer["size"], step.get("created_by", ""))
        for layer, step in zip(manifest["layers"], steps, strict=True)
    ]


def _json(session: requests.Session, url: str) -> Any:
    answer = session.get(url, timeout=LIMIT_S)
    answer.raise_for_status()
    return answer.json()


def by_purpose(base: list[Layer], app: list[Layer]) -> dict[Purpose, list[Layer]]:
    """Return an app image's layers by what they are for, given those of its base image."""
    above = app[len(base) :]
    return {
        "base": app[: len(base)],
        "models": [layer for layer in above if COMPILES in layer.made_by],
        "code": [layer for layer in above if COMPILES not in layer.made_by],
    }


def megabytes(found: list[Layer]) -> float:
    """Return the size of some layers together."""
    return round(sum(layer.size_bytes for layer in found) / 1e6, 1)
