"""The components that are deployed, and the files of deployment/ as data."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SIDES = ("backend", "frontend", "gateway")
COLUMNS = ("component", "side", "folder", "deliverable", "port", "compiled_models")


@dataclass(frozen=True)
class Component:
    """A row of deployment/components.sh."""

    name: str
    side: str
    folder: str
    deliverable: str
    port: str
    compiled_models: str

    @property
    def dockerfile(self) -> str:
        return f"deployment/Dockerfile.{self.side}"

    @property
    def base_dockerfile(self) -> str:
        return f"{self.dockerfile}_base"


def _table() -> list[Component]:
    path = Path(__file__).resolve().parents[2] / "deployment" / "components.sh"
    columns = " ".join(f'"${name}"' for name in COLUMNS)
    row = f'describe "$name"; printf "%s\\t" {columns}; echo'
    script = f'set -eu; source "$0"; for name in $components; do {row}; done'
    table = subprocess.run(["bash", "-c", script, path], check=True, capture_output=True, text=True)
    return [Component(*line.split("\t")[: len(COLUMNS)]) for line in table.stdout.splitlines()]


BY_NAME = {component.name: component for component in _table()}
NAMES = sorted(BY_NAME)


def read(root: Path, name: str) -> str:
    return (root / "deployment" / name).read_text(encoding="utf-8")


def build_file(root: Path, name: str) -> dict[str, Any]:
    return yaml.safe_load(read(root, f"cloudbuild_{name}.yaml"))  # type: ignore[no-any-return]
