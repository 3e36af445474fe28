"""Where a service lives: its project and region, and the names of things there."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Place:
    """A project's corner of one region."""

    project: str
    region: str

    def key(self, name: str) -> str:
        """Return the name under which the store keeps a service or a revision."""
        return f"{self.project}/{self.region}/{name}"

    def holds(self, key: str) -> bool:
        """Return whether a key is of this place; the region `-` stands for all."""
        project, region, _ = key.split("/")
        return project == self.project and self.region in {region, "-"}

    @classmethod
    def of(cls, key: str) -> Self:
        """Return the place of a key."""
        project, region, _ = key.split("/")
        return cls(project, region)


def name_of(key: str) -> str:
    """Return the bare name that a key ends in."""
    return key.rpartition("/")[2]
