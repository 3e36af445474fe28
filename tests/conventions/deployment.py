"""The components that are deployed, and what tells their files apart."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from imgserve.models.catalogue import CATALOGUE


@dataclass(frozen=True)
class Component:
    """One of the services, by its folder's name."""

    name: str
    base: str
    deliverable: str
    port: int
    models: str = "''"  # compiled into its image

    @property
    def folder(self) -> str:
        """Return the folder of its code."""
        return self.name.replace("v3_", "v3/")

    @property
    def dockerfile(self) -> str:
        """Return the path of its Dockerfile."""
        return f"{self.folder}/Dockerfile"

    @property
    def service(self) -> str:
        """Return the name that Cloud Run knows it by."""
        return self.name.replace("_", "-")

    def of_template(self, text: str) -> str:
        """Return a template's text with this component's names, which alone may differ."""
        names = {
            "COMPONENT": self.name,
            "DELIVERABLE": self.deliverable,
            "image_uri BASE_IMAGE)": f"image_uri {self.base})",
            "_BASE_DOCKERFILE: BASE_DOCKERFILE": (
                f"_BASE_DOCKERFILE: deployment/Dockerfile.{self.base}"
            ),
            "_DOCKERFILE: DOCKERFILE": f"_DOCKERFILE: {self.dockerfile}",
            "_SERVING_PORT: 'PORT'": f"_SERVING_PORT: '{self.port}'",
            "_MODELS: MODELS": f"_MODELS: {self.models}",
        }
        for placeholder, name in names.items():
            text = text.replace(placeholder, name)
        return text


BACKENDS = (
    Component("backend_v1", "backend_base", "services.v1.back_end", 8000, "resnet152"),
    Component("backend_v2", "backend_base", "services.v2.back_end", 8000, ",".join(CATALOGUE)),
    Component(
        "v3_backend", "backend_base", "services.v3.back_ends.$model", 8000, "efficientnet_lite0"
    ),
)
FRONTENDS = (
    Component("frontend_v1", "frontend_base", "services.v1.front_end", 8501),
    Component("frontend_v2", "frontend_base", "services.v2.front_end", 8501),
    Component("v3_frontend", "frontend_base", "services.v3.front_end", 8501),
)
GATEWAY = Component("v3_gateway", "gateway_base", "services.v3.gateway", 8080)
COMPONENTS = (*BACKENDS, *FRONTENDS, GATEWAY)
BY_NAME = {each.name: each for each in COMPONENTS}


def read(root: Path, name: str) -> str:
    """Return the text of a file of deployment/."""
    return (root / "deployment" / name).read_text(encoding="utf-8")


def build_file(root: Path, name: str) -> dict[str, Any]:
    """Return a Cloud Build file, parsed."""
    return yaml.safe_load(read(root, f"cloudbuild_{name}.yaml"))  # type: ignore[no-any-return]


def command(text: str, start: str) -> list[str]:
    """Return a script's one command that starts so: its lines, without indentation and `\\`."""
    found = re.findall(
        rf"^( *(?:\w+=\$\()?{re.escape(start)}(?: .*\\\n)(?:.*\\\n)*.*)$", text, re.M
    )
    assert len(found) == 1, f"{len(found)} times {start}"
    return [line.removesuffix("\\").strip() for line in dedent(found[0]).splitlines()]


def flags(lines: list[str]) -> list[str]:
    """Return the names of a command's flags, in order."""
    return [name for line in lines for name in re.findall(r"^(--[a-z-]+)", line)]


def values(lines: list[str]) -> dict[str, str]:
    """Return the value of each of a command's flags."""
    pairs = [line.split(" ||")[0].partition("=") for line in lines if line.startswith("--")]
    return {name: value for name, _, value in pairs}
