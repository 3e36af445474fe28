"""Many pictures at once: progress, a table, a file to download."""

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Self

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend.client import BackendClient
from imgserve.frontend.messages import Failure
from imgserve.frontend.predict import Answered, Patience, explained, predict
from imgserve.frontend.session import Batch, LinkedPicture

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


@dataclass(frozen=True)
class Row:
    """What came of one picture; all but the thumbnail is a column of the download."""

    url: str
    answer: str = ""
    probability: float | None = None
    model: str = ""
    milliseconds: int | None = None
    problem: str = ""
    incomplete: bool = False
    thumbnail: str | None = None

    def words(self) -> str:
        """Return what the table says of it."""
        return self.answer + " (incomplete)" * self.incomplete or f"⚠ {self.problem}"

    @classmethod
    def of(cls, url: str, outcome: Answered | Failure) -> Self:
        if isinstance(outcome, Failure):
            return cls(url, problem=outcome.sentence)
        best = next(iter(outcome.answer.predictions), None)
        return cls(
            url,
            answer=outcome.answer.category,
            probability=best.probability if best else None,
            model=outcome.answer.model,
            milliseconds=round(outcome.round_trip_ms),
            incomplete=outcome.answer.incomplete,
            thumbnail=outcome.thumbnail,
        )


@dataclass(frozen=True)
class Table:
    """One row for each picture, failed ones included, in the order asked."""

    rows: list[Row]

    @property
    def failed(self) -> int:
        """Return how many pictures have no answer."""
        return sum(bool(row.problem) for row in self.rows)

    def csv(self) -> bytes:
        """Return the rows as a file that a spreadsheet opens without running any cell."""
        text = io.StringIO()
        names = [name for name in asdict(self.rows[0]) if name != "thumbnail"]
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: _not_a_formula(cell) for name, cell in asdict(row).items()})
        return text.getvalue().encode()


def _not_a_formula(cell: object) -> object:
    """Return the cell, quoted where a spreadsheet would run it (OWASP, CSV injection)."""
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell


def classify_batch(
    batch: Batch,
    backend: BackendClient,
    placeholder: DeltaGenerator,
    patience: Patience,
    *,
    model: str | None = None,
) -> Table:
    """Return a row for each picture, showing progress in ``placeholder``.

    BackendError where there is no backend, as the first picture found out.
    """
    pictures = [LinkedPicture(url) for url in batch.urls]
    rows: list[Row] = []
    placeholder.progress(0.0, f"0 of {len(pictures)}")
    for outcome in _outcomes(pictures, backend, patience, model):
        rows.append(Row.of(pictures[len(rows)].url, outcome))
        placeholder.progress(len(rows) / len(pictures), f"{len(rows)} of {len(pictures)}")
    return Table(rows)


def _outcomes(
    pictures: Sequence[LinkedPicture],
    backend: BackendClient,
    patience: Patience,
    model: str | None,
) -> Iterator[Answered | Failure]:
    """Yield the outcomes in order; the first picture alone waits for the backend to wake up."""

    def outcome(picture: LinkedPicture) -> Answered | Failure:
        try:
            return predict(picture, backend, model)
        except BackendError as exc:
            return explained(exc)

    try:
        yield patience.call(lambda: predict(pictures[0], backend, model))
    except RequestRefused as exc:
        yield explained(exc)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(outcome, pictures[1:])


def show_table(table: Table) -> None:
    """Draw the rows, how many failed, and the download."""
    count, failed = len(table.rows), table.failed
    st.subheader(f"{count - failed} of {count} pictures classified", anchor=False)
    st.dataframe(
        [{**asdict(row), "answer": row.words()} for row in table.rows],
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
