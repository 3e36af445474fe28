"""The HTML of a page's parts: ``html.heading("...")`` is the macro of that name in ``parts.html``.

Streamlit lets through no script in it, and text that is put in is escaped.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from imgserve.frontend.messages import language, percent, say

THIRDS = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
MAP_COLOUR = (255, 196, 0)

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)
_environment.globals |= {"language": language, "percent": percent, "say": say}
html: Any = _environment.get_template("parts.html").module


def explanation_map(explanation: Sequence[Sequence[float]]) -> str:
    """Return an image of one pixel for each place, which the browser makes large and smooth."""
    image = Image.new("RGBA", (len(explanation[0]), len(explanation)))
    image.putdata([(*MAP_COLOUR, round(200 * share)) for row in explanation for share in row])
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def part_that_matters(explanation: Sequence[Sequence[float]]) -> str:
    """Return which part of the picture matters most: the ninth with the greatest share."""
    shares: dict[str, float] = defaultdict(float)
    for y, row in enumerate(explanation):
        for x, share in enumerate(row):
            shares[THIRDS[3 * y // len(explanation)][3 * x // len(row)]] += share
    return max(shares, key=shares.__getitem__)
