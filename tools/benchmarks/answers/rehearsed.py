"""What the rehearsal of the deployment found: the form of its JSON file."""

from pathlib import Path

import msgspec

FILE = "rehearsal.json"


class Step(msgspec.Struct, frozen=True):
    """One step; ``failure`` says why it failed, and is empty where it did not."""

    name: str
    seconds: float
    failure: str = ""


class Build(msgspec.Struct, frozen=True):
    """One build of an app image.

    Attributes:
        seconds: of the whole build.
        steps: the seconds of each step.
        megabytes: of the image's compressed layers, by what they are for.
    """

    image: str
    seconds: float
    steps: dict[str, float]
    megabytes: dict[str, float]

    @property
    def size_mb(self) -> float:
        """Return the compressed size of the whole image."""
        return sum(self.megabytes.values())


class Rehearsal(msgspec.Struct, frozen=True):
    """All that a rehearsal found.

    Attributes:
        taken: when it was; empty where the file does not say.
        machine: where; likewise.
    """

    passed: bool
    steps: list[Step]
    builds: list[Build]
    taken: str = ""
    machine: dict[str, str] = {}

    def seconds(self, name: str) -> float | None:
        """Return how long a step took; None where there was none."""
        return next((step.seconds for step in self.steps if step.name == name), None)

    def newest(self, component: str) -> list[Build]:
        """Return the last build of each of a component's images; v3_backend has one a model."""
        newest = {build.image: build for build in self.builds}
        return [
            build
            for image, build in newest.items()
            if image == component or image.startswith(f"{component}_")
        ]


def rehearsed(folder: Path) -> Rehearsal | None:
    """Return what a folder of results holds of a rehearsal that ended well; else None."""
    try:
        found = msgspec.json.decode((folder / FILE).read_bytes(), type=Rehearsal)
    except FileNotFoundError:
        return None
    return found if found.passed else None
