"""The chart of a comparison: classes down, models across, the darker the more probable."""

from collections.abc import Mapping, Sequence

import altair as alt

from imgserve.contract import Prediction
from imgserve.frontend.charts import LABEL_COLOR
from imgserve.frontend.messages import percent

ROW_HEIGHT_PX = 50
HEADER_HEIGHT_PX, TURNED_HEADER_HEIGHT_PX = 40, 100
CELL_HEIGHT_PX = 24
LOWERED_PX = 9  # the cells, so that a class's name fits above them in its row
ROWS = 6
EACH_NAMES = 3  # its most probable classes get a row
ID_WIDTH = 4  # digits before a class's name, as two classes may share one
FAINTEST = 0.1
# Where black letters become easier to read than white ones, at a luminance of 0.18: either has then
# the contrast of 4.5 that WCAG AA asks for. The opacities follow from the theme's chart colours.
LETTERS = alt.expr(
    "(luminance(background) > 0.5 ? datum.opacity < 0.91 : datum.opacity > 0.57) ? '#000' : '#fff'"
)
TURNED_FROM = 5  # so many titles stand side by side on no phone


def heat_map(said: Mapping[str, Sequence[Prediction]]) -> alt.LayerChart | alt.FacetChart:
    """Return a cell for each class and model, so that a row dark from side to side is agreement.

    Args:
        said: each model's classes by its title, the most probable first.
    """
    rows = class_rows(said)
    turned = len(said) >= TURNED_FROM
    values = [
        {"class": key, "model": title if turned else _lines(title), **_cell(shares.get(title))}
        for key, shares in rows.items()
        for title in said
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("model:N", sort=None, title=None, axis=_model_axis(turned=turned)),
        y=alt.Y("class:N", sort=None, title=None, axis=_class_axis()),
    )
    cells = base.mark_rect(
        height=CELL_HEIGHT_PX, width={"band": 0.96}, yOffset=LOWERED_PX, cornerRadius=4
    ).encode(opacity=alt.Opacity("opacity:Q", scale=None))
    words = base.mark_text(fontSize=13, color=LETTERS, yOffset=LOWERED_PX).encode(text="words:N")
    header_px = TURNED_HEADER_HEIGHT_PX if turned else HEADER_HEIGHT_PX
    return alt.layer(cells, words).properties(height=header_px + ROW_HEIGHT_PX * len(rows))


def class_rows(said: Mapping[str, Sequence[Prediction]]) -> dict[str, dict[str, float]]:
    """Return, by class, each model's probability; the class most believed in first."""
    named = {each.class_id for classes in said.values() for each in classes[:EACH_NAMES]}
    rows: dict[str, dict[str, float]] = {}
    for title, classes in said.items():
        for each in classes:
            if each.class_id in named:
                key = f"{each.class_id:0{ID_WIDTH}}{each.category}"
                rows.setdefault(key, {})[title] = each.probability
    believed = sorted(rows, key=lambda key: -sum(rows[key].values()))
    return {key: rows[key] for key in believed[:ROWS]}


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


def _class_axis() -> alt.Axis:
    """Return an axis that is only names, above the cells and flush with their left side."""
    return alt.Axis(
        orient="left",
        labelAlign="left",
        labelColor=LABEL_COLOR,
        labelFlush=False,
        labelExpr=f"slice(datum.label, {ID_WIDTH})",
        labelFontSize=14,
        labelLimit=320,
        labelOffset=-14,
        labelPadding=0,
    )
