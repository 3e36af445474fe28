"""The HTML of answers: lists and tables that a screen reader reads, styled by ``page.css``.

Streamlit lets through no script in it; text from outside is escaped here.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from imgserve.contract import Prediction
from imgserve.frontend.language import say
from imgserve.frontend.messages import percent

THIRDS = (
    ("upper left", "top", "upper right"),
    ("left", "middle", "right"),
    ("lower left", "bottom", "lower right"),
)
MAP_COLOUR = (255, 196, 0)


def draw(html: str, place: DeltaGenerator | None = None) -> None:
    """Draw HTML on the page, or in a place on it."""
    (place or st).html(html)


def heading(sentence: str, announced: str = "") -> str:
    """Return a heading; ``page.js`` says ``announced`` to who cannot see it."""
    said = f' data-announce="{escape(announced)}"' if announced else ""
    return f"<h2{said}>{escape(sentence)}</h2>"


def waiting(sentence: str) -> str:
    """Return what is shown while an answer is on its way: as high as one, so that nothing jumps."""
    said = escape(sentence)
    return f'<div class="answer waiting" data-announce="{said}"><p>{said}</p></div>'


def bars(predictions: Iterable[Prediction]) -> str:
    """Return the classes in the order given, each with its probability and a bar."""
    items = "".join(
        f"<li><span>{escape(top.category)}</span> {share(top.probability)}</li>"
        for top in predictions
    )
    return f'<ol class="bars">{items}</ol>'


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
    size = len(explanation[0]), len(explanation)
    cells = [(*MAP_COLOUR, round(200 * share)) for row in explanation for share in row]
    image = Image.new("RGBA", size)
    image.putdata(cells)
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _part(explanation: Sequence[Sequence[float]]) -> str:
    """Return which part of the picture matters most: the ninth with the greatest share."""
    rows, columns = len(explanation), len(explanation[0])
    shares = [[0.0] * 3 for _ in range(3)]
    for y, row in enumerate(explanation):
        for x, share in enumerate(row):
            shares[3 * y // rows][3 * x // columns] += share
    _, y, x = max((share, y, x) for y, row in enumerate(shares) for x, share in enumerate(row))
    return THIRDS[y][x]


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


def small(*lines: str) -> str:
    """Return lines of small print."""
    return '<p class="small">' + "<br>".join(map(escape, lines)) + "</p>"


def copy_button(words: str, text: str = "") -> str:
    """Return a button by which ``page.js`` copies a text, without one the page's address."""
    data = f'data-copied="{escape(say("Copied"))}" data-text="{escape(text)}"'
    return f'<button class="copy" type="button" {data}>{escape(words)}</button>'


def code(title: str, *pieces: str) -> str:
    """Return pieces of code, folded away below a title."""
    shown = "".join(
        f"<pre><code>{escape(piece)}</code></pre>{copy_button(say('Copy'), piece)}"
        for piece in pieces
    )
    return fold(title, shown)


def fold(title: str, html: str) -> str:
    """Return HTML that is folded away below a title."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"
