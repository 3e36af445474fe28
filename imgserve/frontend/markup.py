"""The HTML of answers: lists and tables that a screen reader reads, styled by ``page.css``.

Streamlit lets through no script in it; text from outside is escaped here.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from imgserve.contract import PredictAnswer, Prediction
from imgserve.frontend.messages import INCOMPLETE, percent, say

THIRDS = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
MAP_COLOUR = (255, 196, 0)


def heading(sentence: str, announced: str = "") -> str:
    """Return a heading; ``page.js`` says ``announced`` to who cannot see it."""
    said = f' data-announce="{escape(announced)}"' if announced else ""
    return f"<h2{said}>{escape(sentence)}</h2>"


def answer(*parts: str) -> str:
    """Return parts as one answer; the next one is as high, so that nothing jumps."""
    return f'<div class="answer">{"".join(parts)}</div>'


def waiting(sentence: str) -> str:
    """Return what is shown while an answer is on its way, as high as one."""
    said = escape(sentence)
    return f'<div class="answer waiting" data-announce="{said}"><p>{said}</p></div>'


def bars(predictions: Iterable[Prediction]) -> str:
    """Return the classes in the order given, each with its probability and a bar."""
    rows = (f"<span>{escape(top.category)}</span> {share(top.probability)}" for top in predictions)
    return f'<ol class="bars"><li>{"</li><li>".join(rows)}</li></ol>'


def share(probability: float | None) -> str:
    """Return a probability, and a bar that is full at 1; a dash where it is not known."""
    if probability is None:
        return "-"
    length = f'<i style="width:{probability:.1%}"></i>'
    figure = escape(percent(probability))
    return f'<span>{figure}</span><div class="bar" aria-hidden="true">{length}</div>'


def picture(thumbnail: str | None, alt: str, explanation: Sequence[Sequence[float]] = ()) -> str:
    """Return the picture as the model saw it, and over it where the answer came from."""
    if not thumbnail:
        return ""
    seen = f'<img src="{escape(thumbnail)}" alt="{escape(alt)}">'
    if not explanation:
        return f'<div class="seen">{seen}</div>'
    words = escape(say("It depends most on the {part}.", part=say(_part(explanation))))
    over = f'<img class="map" src="{_map(explanation)}" alt="{words}">'
    return f'<div class="seen">{seen}{over}</div><p class="small">{words}</p>'


def _map(explanation: Sequence[Sequence[float]]) -> str:
    """Return an image of one pixel for each place, which the browser makes large and smooth."""
    image = Image.new("RGBA", (len(explanation[0]), len(explanation)))
    image.putdata([(*MAP_COLOUR, round(200 * share)) for row in explanation for share in row])
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _part(explanation: Sequence[Sequence[float]]) -> str:
    """Return which part of the picture matters most: the ninth with the greatest share."""
    shares: dict[str, float] = defaultdict(float)
    for y, row in enumerate(explanation):
        for x, share in enumerate(row):
            shares[THIRDS[3 * y // len(explanation)][3 * x // len(row)]] += share
    return max(shares, key=shares.__getitem__)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; the first of a row names the row."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        '<div class="wide" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def incomplete(*answers: PredictAnswer) -> str:
    """Return what to say where the end of the picture's file is missing."""
    return f"<p>{say(INCOMPLETE)}</p>" if any(answer.incomplete for answer in answers) else ""


def small(*lines: str) -> str:
    return '<p class="small">' + "<br>".join(map(escape, lines)) + "</p>"


def copy_button(words: str, text: str = "") -> str:
    """Return a button by which ``page.js`` copies a text, without one the page's address."""
    data = f'data-copied="{escape(say("Copied"))}" data-text="{escape(text)}"'
    return f'<button class="copy" type="button" {data}>{escape(words)}</button>'


def fold(title: str, html: str) -> str:
    """Return HTML that is folded away below a title."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"
