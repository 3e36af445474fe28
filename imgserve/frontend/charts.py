"""The charts: bars of one answer, and a heat map of what several models answered.

Altair takes longer to import than all the rest of a page, so this module is imported only for a
chart.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import altair as alt

# Altair takes pandas from sys.modules, half imported too: two people's first charts at once, in two
# threads, and one ends in an AttributeError. Imported here, it is whole before any chart is made.
import pandas  # noqa: F401

from imgserve.contract import Prediction
from imgserve.frontend.messages import percent

BAR_ROW_HEIGHT_PX = 40
SHARE_WIDTH = 6  # characters of the widest percentage, "100.0%"
# Streamlit's own label colour is a light grey on white, below the contrast that WCAG AA asks for.
LABEL_COLOR = alt.expr("luminance(background) > 0.5 ? '#1c2624' : '#e6eeec'")
MAP_ROW_HEIGHT_PX = 50
HEADER_HEIGHT_PX, TURNED_HEADER_HEIGHT_PX = 40, 100
CELL_HEIGHT_PX = 24
LOWERED_PX = 9  # the cells, so that a class's name fits above them in its row
ROWS = 6
TOP_CLASSES = 3  # of each model get a row
FAINTEST = 0.1
# Where black letters become easier to read than white ones, at a luminance of 0.18: either has then
# the contrast of 4.5 that WCAG AA asks for. The opacities follow from the theme's chart colours.
LETTERS = alt.expr(
    "(luminance(background) > 0.5 ? datum.opacity < 0.91 : datum.opacity > 0.57) ? '#000' : '#fff'"
)
TURNED_FROM = 5  # so many titles stand side by side on no phone


def bar_chart(predictions: list[Prediction]) -> alt.LayerChart:
    """Return horizontal bars in the order given, on a track that stands for 100 %.

    Names and percentages are labels of two axes, which keep them flush with the sides whatever the
    width; both are cut out of one key, as the axes share a scale.
    """
    values = [
        {
            "key": percent(prediction.probability).rjust(SHARE_WIDTH) + prediction.category,
            "probability": prediction.probability,
        }
        for prediction in predictions
    ]
    rows = alt.InlineData(values=values)
    name_axis = _label_axis("left", f"slice(datum.value, {SHARE_WIDTH})", -16)
    share_axis = _label_axis("right", f"slice(datum.value, 0, {SHARE_WIDTH})", -16)
    names = alt.Chart(rows).encode(y=alt.Y("key:N", sort=None, title=None, axis=name_axis))
    shares = alt.Chart(rows).encode(y=alt.Y("key:N", sort=None, title=None, axis=share_axis))
    size = alt.X("probability:Q", axis=None, scale=alt.Scale(domain=[0, 1]))
    track = shares.mark_bar(height=8, cornerRadius=4, opacity=0.15).encode(x=alt.value("width"))
    bars = names.mark_bar(height=8, cornerRadius=4).encode(x=size)
    chart: alt.LayerChart = alt.layer(track, bars).resolve_axis(y="independent")
    return chart.properties(height=BAR_ROW_HEIGHT_PX * len(predictions))


def _label_axis(side: Literal["left", "right"], cut: str, offset_px: int) -> alt.Axis:
    """Return an axis that is only labels, above what they name and flush with this side."""
    return alt.Axis(
        orient=side,
        labelAlign=side,
        labelColor=LABEL_COLOR,
        labelExpr=cut,
        labelFlush=False,
        labelFontSize=14,
        labelLimit=320,
        labelOffset=offset_px,
        labelPadding=0,
    )


def heat_map(predictions: Mapping[str, Sequence[Prediction]]) -> alt.LayerChart | alt.FacetChart:
    """Return a cell for each class and model, so that a row dark from side to side is agreement.

    ``predictions`` has each model's classes by its title, the most probable first.
    """
    rows = class_rows(predictions)
    turned = len(predictions) >= TURNED_FROM
    values = [
        {"class": name, "model": title if turned else _lines(title), **_cell(shares.get(title))}
        for name, shares in rows.items()
        for title in predictions
    ]
    class_axis = _label_axis("left", "datum.label", -14)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("model:N", sort=None, title=None, axis=_model_axis(turned=turned)),
        y=alt.Y("class:N", sort=None, title=None, axis=class_axis),
    )
    cells = base.mark_rect(
        height=CELL_HEIGHT_PX, width={"band": 0.96}, yOffset=LOWERED_PX, cornerRadius=4
    ).encode(opacity=alt.Opacity("opacity:Q", scale=None))
    words = base.mark_text(fontSize=13, color=LETTERS, yOffset=LOWERED_PX).encode(text="words:N")
    header_px = TURNED_HEADER_HEIGHT_PX if turned else HEADER_HEIGHT_PX
    return alt.layer(cells, words).properties(height=header_px + MAP_ROW_HEIGHT_PX * len(rows))


def class_rows(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, float]]:
    """Return, by class, each model's probability; the class most believed in first.

    Models may know different classes: those with one name are one.
    """
    named = {top.category for classes in predictions.values() for top in classes[:TOP_CLASSES]}
    rows: dict[str, dict[str, float]] = {}
    for title, classes in predictions.items():
        for one in classes:
            if one.category in named:
                shares = rows.setdefault(one.category, {})
                shares[title] = shares.get(title, 0.0) + one.probability
    believed = sorted(rows, key=lambda name: -sum(rows[name].values()))
    return {name: rows[name] for name in believed[:ROWS]}


def _cell(probability: float | None) -> dict[str, object]:
    """Return how a cell looks; a class not among those a model answered with is all but 0."""
    share = probability or 0.0
    words = "-" if probability is None else percent(share)
    return {"opacity": FAINTEST + (1 - FAINTEST) * share, "words": words}


def _lines(title: str) -> str:
    """Return a title with a mark where it may go on in a new line."""
    return title.replace("-", "-|").replace(" ", "|")


def _model_axis(*, turned: bool) -> alt.Axis:
    return alt.Axis(
        orient="top",
        labelAngle=-50 if turned else 0,
        labelColor=LABEL_COLOR,
        labelFlush=False,
        labelExpr="split(datum.label, '|')",
        labelFontSize=12,
        labelOverlap=False,
    )
