"""The pictures that are classified: real ones, and the same made larger or smaller."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tools.benchmarks.places import PICTURES, real_pictures

# 109 kB and 0.27 megapixels: what people send.
USUAL = "rocket.jpg"
MEGAPIXELS = (0.1, 1.0, 12.0, 24.0)
FORMATS = ("jpeg", "png", "webp")
MEDIA_TYPES = {"jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
# Real photographs, of 3:2 like a camera's; the larger sizes are made by enlarging.
SOURCE = "coffee.png"
QUALITY = 90


@dataclass(frozen=True)
class Kind:
    """A size and a format."""

    megapixels: float
    format: str

    @property
    def name(self) -> str:
        """Return the file's name."""
        return f"{self.megapixels:g}mp.{self.format}"

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of 3 to 2."""
        height = (self.megapixels * 1e6 / 1.5) ** 0.5
        return round(1.5 * height), round(height)


def usual() -> Path:
    """Return where the usual picture is, in the folder that the picture host has."""
    path = PICTURES / USUAL
    if not path.exists():
        PICTURES.mkdir(parents=True, exist_ok=True)
        path.write_bytes((real_pictures() / USUAL).read_bytes())
    return path


def made(kind: Kind) -> Path:
    """Return where a picture of a size and format is, which is made once."""
    path = PICTURES / kind.name
    if not path.exists():
        PICTURES.mkdir(parents=True, exist_ok=True)
        with Image.open(real_pictures() / SOURCE) as source:
            picture = source.convert("RGB").resize(kind.size, Image.Resampling.BICUBIC)
        draft = path.with_suffix(f".partial.{kind.format}")
        picture.save(draft, quality=QUALITY)
        draft.replace(path)
    return path


def media_type(path: Path) -> str:
    """Return the media type of a picture's file."""
    return MEDIA_TYPES[path.suffix.removeprefix(".")]
