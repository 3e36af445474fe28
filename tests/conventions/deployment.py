"""The components that are deployed, and the files of deployment/ as data."""

import subprocess
from pathlib import Path
from typing import NamedTuple

SIDES = ("backend", "frontend", "gateway")


class Component(NamedTuple):
    """A row of deployment/components.sh, by the names that the values have there."""

    component: str
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


def _table() -> dict[str, Component]:
    path = Path(__file__).resolve().parents[2] / "deployment" / "components.sh"
    columns = " ".join(f'"${name}"' for name in Component._fields)
    row = f'describe "$name"; printf "%s|" {columns}; echo'
    script = f'set -eu; source "$0"; for name in $components; do {row}; done'
    table = subprocess.run(["bash", "-c", script, path], check=True, capture_output=True, text=True)
    rows = [Component(*line.split("|")[:-1]) for line in table.stdout.splitlines()]
    return {row.component: row for row in rows}


BY_NAME = _table()
NAMES = sorted(BY_NAME)


def read(root: Path, name: str) -> str:
    return (root / "deployment" / name).read_text(encoding="utf-8")
