"""What every part of the story uses: the scripts, the browser, and what was found so far."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser

from tools.rehearsal.host.rehearsal import PROJECT, Rehearsal
from tools.rehearsal.story.images import Layer, Purpose, by_purpose, layers
from tools.rehearsal.story.progress import Progress, StepFailed
from tools.rehearsal.story.scripts import Scripts

REGION = "northamerica-northeast1"  # the scripts' default
REPOSITORY = "imgserve"  # theirs, too
SAMPLES = Path("imgserve", "samples")


@dataclass(frozen=True)
class Build:
    """A build that ended well.

    Attributes:
        image: its app image's short name.
        steps: the seconds that each step took, and `push`.
        layers: of its app image, by what they are for.
    """

    id: str
    image: str
    seconds: float
    steps: dict[str, float]
    layers: dict[Purpose, list[Layer]]


@dataclass
class Stage:
    """Where the story takes place.

    Attributes:
        models: those the scripts are limited to; none for no limit.
        builds: in the order they were made.
        urls: of what was deployed, by the name of its image; the newest counts.
    """

    rehearsal: Rehearsal
    progress: Progress
    browser: Browser
    models: tuple[str, ...]
    builds: list[Build] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def scripts(self) -> Scripts:
        """Return what can be run."""
        return Scripts(self.rehearsal.source, self.rehearsal.environ)

    def picture(self, name: str) -> Path:
        """Return a sample picture."""
        return self.rehearsal.source / SAMPLES / name

    def last_build(self, image: str) -> Build:
        """Return the newest build of an image."""
        return next(each for each in reversed(self.builds) if each.image == image)

    def layers(self, image: str, tag: str) -> dict[Purpose, list[Layer]]:
        """Return an app image's layers by what they are for."""
        side = image.removeprefix("v3_").partition("_")[0]  # backend, frontend or gateway
        home = f"{self.rehearsal.registry}/{PROJECT}/{REPOSITORY}"
        base = layers(f"{home}/{side}_base:{tag}")
        return by_purpose(base, layers(f"{home}/{image}:{tag}"))

    def serving(self, service: str) -> str:
        """Return the revision that has all of a service's traffic."""
        about = self.scripts.gcloud("run", "services", "describe", service, f"--region={REGION}")
        shares = [each for each in about["status"]["traffic"] if each.get("percent")]
        if len(shares) != 1:
            raise StepFailed(f"{service} has its traffic in {len(shares)} parts: {shares}")
        name: str = shares[0]["revisionName"]
        return name
