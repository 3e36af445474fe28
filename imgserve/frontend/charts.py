"""The bar chart of an answer."""

from typing import Literal

import altair as alt

# Altair takes pandas from sys.modules, half imported too: two people's first charts at once, in two
# threads, and one ends in an AttributeError. Imported here, it is whole before any chart is made.
import pandas  # noqa: F401

from imgserve.contract import Prediction
from imgserve.frontend.messages import percent

ROW_HEIGHT_PX = 40
SHARE_WIDTH = 6  # characters of the widest percentage, "100.0%"
# Streamlit's own label colour is a light grey on white, below the contrast that WCAG AA asks for.
LABEL_COLOR = alt.expr("luminance(background) > 0.5 ? '#1c2624' : '#e6eeec'")


def bar_chart(predictions: list[Prediction]) -> alt.LayerChart:
    """Return horizontal bars in the order given, on a track that stands for 100 %.

    Names and percentages are labels of two axes, which keep them flush with the sides whatever the
    width; both are cut out of one key, as the axes share a scale.
    """
    values = [
        {
            "key": percent(each.probability).rjust(SHARE_WIDTH) + each.category,
            "probability": each.probability,
        }
        for each in predictions
    ]
    rows = alt.InlineData(values=values)
    names = alt.Chart(rows).encode(y=_labels("left", f"slice(datum.value, {SHARE_WIDTH})"))
    shares = alt.Chart(rows).encode(y=_labels("right", f"slice(datum.value, 0, {SHARE_WIDTH})"))
    size = alt.X("probability:Q", axis=None, scale=alt.Scale(domain=[0, 1]))
    track = shares.mark_bar(height=8, cornerRadius=4, opacity=0.15).encode(x=alt.value("width"))
    bars = names.mark_bar(height=8, cornerRadius=4).encode(x=size)
    chart: alt.LayerChart = alt.layer(track, bars).resolve_axis(y="independent")
    return chart.properties(height=ROW_HEIGHT_PX * len(predictions))


def _labels(side: Literal["left", "right"], cut: str) -> alt.Y:
    """Return a y axis that is only labels, above the bars and flush with this side."""
    axis = alt.Axis(
        orient=side,
        labelAlign=side,
        labelColor=LABEL_COLOR,
        labelExpr=cut,
        labelFontSize=14,
        labelLimit=320,
        labelOffset=-16,
        labelPadding=0,
    )
    return alt.Y("key:N", sort=None, title=None, axis=axis)
