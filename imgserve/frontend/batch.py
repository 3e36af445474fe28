"""Many pictures at once: progress, a table, a file to download."""

import csv
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import RequestRefused
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure
from imgserve.frontend.predict import Answered, explained, outcome_now, patient_answer
from imgserve.frontend.session import LinkedPicture, ManyLinks

AT_ONCE = 4  # fetching is mostly waiting; a backend's queue holds many more
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = {
    "thumbnail": st.column_config.ImageColumn("Picture", width="small"),
    "answer": st.column_config.TextColumn("Answer", width="medium"),
    "probability": st.column_config.ProgressColumn(
        "Probability", format="percent", min_value=0, max_value=1
    ),
    "url": st.column_config.TextColumn("Address"),
}


Row = dict[str, object]


@dataclass(frozen=True)
class Table:
    """One row for each picture, failed ones included, in the order asked."""

    rows: list[Row]

    @property
    def failed(self) -> int:
        """Return how many pictures have no answer."""
        return sum(bool(row["problem"]) for row in self.rows)

    def csv(self) -> bytes:
        """Return the rows as a file that a spreadsheet opens without running any cell."""
        text = io.StringIO()
        names = [name for name in self.rows[0] if name != "thumbnail"]
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: _not_a_formula(cell) for name, cell in row.items()})
        return text.getvalue().encode()


def classify_all(
    question: ManyLinks,
    backend: BackendClient,
    place: DeltaGenerator,
    notice: Callable[[], None],
    wake_timeout_s: float,
    *,
    model: str | None = None,
) -> Table:
    """Return a row for each picture, showing progress in ``place``.

    Raises:
        BackendError: there is no backend, as the first picture found out.
    """
    pictures = [LinkedPicture(url) for url in question.urls]
    rows: list[Row] = []
    place.progress(0.0, f"0 of {len(pictures)}")
    for outcome in _outcomes(pictures, backend, notice, wake_timeout_s, model):
        rows.append(_row(pictures[len(rows)].url, outcome))
        place.progress(len(rows) / len(pictures), f"{len(rows)} of {len(pictures)}")
    return Table(rows)


def show_table(table: Table) -> None:
    """Draw the rows, how many failed, and the download."""
    count, failed = len(table.rows), table.failed
    st.subheader(f"{count - failed} of {count} pictures classified", anchor=False)
    st.dataframe(
        [{**row, "answer": row["answer"] or f"⚠ {row['problem']}"} for row in table.rows],
        hide_index=True,
        row_height=48,
        placeholder="",
        column_order=list(COLUMNS),
        column_config=COLUMNS,
        alt=f"Answers for {count} pictures, {failed} of them failed; also in the download below",
    )
    st.download_button(
        "Download as CSV",
        table.csv(),
        file_name="classification.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _outcomes(
    pictures: list[LinkedPicture],
    backend: BackendClient,
    notice: Callable[[], None],
    wake_timeout_s: float,
    model: str | None,
) -> Iterator[Answered | Failure]:
    """Yield the outcomes in order; the first picture alone waits for the backend to wake up."""
    try:
        yield patient_answer(
            pictures[0], backend, model, wake_timeout_s=wake_timeout_s, notice=notice
        )
    except RequestRefused as exc:
        yield explained(exc)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda each: outcome_now(each, backend, model), pictures[1:])


def _row(url: str, outcome: Answered | Failure) -> Row:
    if isinstance(outcome, Failure):
        return _cells(url, problem=outcome.sentence)
    best = outcome.answer.predictions[0]
    return _cells(
        url,
        answer=best.category,
        probability=best.probability,
        model=outcome.answer.model,
        milliseconds=round(outcome.round_trip_ms),
        thumbnail=outcome.thumbnail,
    )


def _cells(
    url: str,
    *,
    answer: str = "",
    probability: float | None = None,
    model: str = "",
    milliseconds: int | None = None,
    problem: str = "",
    thumbnail: str | None = None,
) -> Row:
    """Return one row; its keys are the columns of the download."""
    return locals()


def _not_a_formula(cell: object) -> object:
    """Return the cell, quoted where a spreadsheet would run it (OWASP, CSV injection)."""
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell
