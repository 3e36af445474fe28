"""Many pictures: progress, a table of what came of each, the same as a file."""

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from html import escape
from typing import Self

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend import markup
from imgserve.frontend.client import BackendClient
from imgserve.frontend.language import say
from imgserve.frontend.messages import Failure, percent
from imgserve.frontend.predict import Answered, Patience, explained, predict
from imgserve.frontend.session import Batch, Picture

AT_ONCE = 4  # fetching is mostly waiting; a backend's queue holds many more
MOST_REMEMBERED = 200
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Row:
    """What came of one picture; all but the thumbnail is a column of the download."""

    picture: str
    answer: str = ""
    probability: float | None = None
    model: str = ""
    milliseconds: int | None = None
    problem: str = ""
    incomplete: bool = False
    thumbnail: str | None = None

    @classmethod
    def of(cls, picture: Picture, outcome: Answered | Failure) -> Self:
        if isinstance(outcome, Failure):
            return cls(picture.name, problem=outcome.words())
        best = next(iter(outcome.answer.predictions), None)
        return cls(
            picture.name,
            answer=outcome.answer.category,
            probability=best.probability if best else None,
            model=outcome.answer.model,
            milliseconds=round(outcome.round_trip_ms),
            incomplete=outcome.answer.incomplete,
            thumbnail=outcome.thumbnail,
        )

    def cells(self) -> tuple[str, ...]:
        """Return what the table says of it, as HTML."""
        image = f'<img src="{escape(self.thumbnail)}" alt="">' if self.thumbnail else ""
        words = self.answer + say(" (incomplete)") * self.incomplete or f"⚠ {self.problem}"
        name = f"{image}<span>{escape(self.picture)}</span>"
        return name, escape(words), "" if self.problem else markup.share(self.probability)


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
    pictures, rows = batch.pictures, list[Row]()
    placeholder.progress(0.0, f"0 / {len(pictures)}")
    for outcome in _outcomes(pictures, backend, patience, model):
        rows.append(Row.of(pictures[len(rows)], outcome))
        placeholder.progress(len(rows) / len(pictures), f"{len(rows)} / {len(pictures)}")
    return Table(rows)


def _outcomes(
    pictures: Sequence[Picture], backend: BackendClient, patience: Patience, model: str | None
) -> Iterator[Answered | Failure]:
    """Yield the outcomes in order; the first picture alone waits for the backend to wake up."""

    def outcome(picture: Picture) -> Answered | Failure:
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
    count = len(table.rows)
    said = say("{done} of {count} pictures classified", done=count - table.failed, count=count)
    caption, *head = (say(name) for name in ("Answers", "Picture", "Answer", "Probability"))
    rows = [row.cells() for row in table.rows]
    markup.draw(markup.heading(said, said) + markup.table(caption, head, rows))
    _download(say("Download as CSV"), table, "answers")


def _download(words: str, table: Table, name: str) -> None:
    st.download_button(
        words,
        table.csv(),
        key=f"download_{name}",
        file_name=f"{name}.csv",
        mime="text/csv",
        on_click="ignore",
    )


# --- what was asked before ---------------------------------------------------------------------


def remember(*rows: Row) -> None:
    """Add what came of pictures to this person's memory, which ends with their visit."""
    known = st.session_state.get("remembered", [])
    st.session_state.remembered = [*known, *rows][-MOST_REMEMBERED:]


def show_remembered(place: DeltaGenerator) -> None:
    """Draw the pictures so far as a strip, the newest first, from the second on."""
    rows: list[Row] = st.session_state.get("remembered", [])
    if len(rows) < 2:  # noqa: PLR2004 the only one is the answer itself
        return
    items = "".join(_strip_item(row) for row in reversed(rows))
    with place:
        markup.draw(f'{markup.heading(say("So far"))}<ul class="strip">{items}</ul>')
        with st.container(horizontal=True):
            _download(say("Download all as CSV"), Table(rows), "answers_so_far")
            st.button(say("Clear"), on_click=_forget)


def _strip_item(row: Row) -> str:
    image = f'<img src="{escape(row.thumbnail)}" alt="">' if row.thumbnail else ""
    share = "" if row.probability is None else f" {percent(row.probability)}"
    return f"<li>{image}<span>{escape((row.answer or '⚠') + share)}</span></li>"


def _forget() -> None:
    st.session_state.pop("remembered", None)
