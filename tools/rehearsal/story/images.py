"""What the registry holds: images, and what each of their layers is for."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import requests

LIMIT_S = 30
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
# The one step of the Dockerfiles that makes models.
COMPILES = "imgserve.compile"

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


def layers(image: str) -> list[Layer]:
    """Return an image's layers, the lowest first.

    Args:
        image: its full name with its tag.
    """
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    with requests.Session() as http:
        http.trust_env = False  # the registry is on this machine
        http.headers["Accept"] = ", ".join(MANIFESTS)
        manifest = _json(http, f"http://{host}/v2/{name}/manifests/{tag}")
        about = _json(http, f"http://{host}/v2/{name}/blobs/{manifest['config']['digest']}")
    steps = [each for each in about["history"] if not each.get("empty_layer")]
    return [
        Layer(layer["digest"], layer["size"], step.get("created_by", ""))
        for layer, step in zip(manifest["layers"], steps, strict=True)
    ]


def _json(http: requests.Session, url: str) -> Any:
    answer = http.get(url, timeout=LIMIT_S)
    answer.raise_for_status()
    return json.loads(answer.content)


def by_purpose(base: list[Layer], app: list[Layer]) -> dict[Purpose, list[Layer]]:
    """Return an app image's layers by what they are for.

    Args:
        base: the layers of the image it was built on.
        app: all of its own.
    """
    above = app[len(base) :]
    return {
        "base": app[: len(base)],
        "models": [each for each in above if COMPILES in each.made_by],
        "code": [each for each in above if COMPILES not in each.made_by],
    }


def megabytes(found: list[Layer]) -> float:
    """Return the size of some layers together."""
    return round(sum(each.size_bytes for each in found) / 1e6, 1)
