"""Many pictures: progress, a table of what came of each, the same as a file."""

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from html import escape
from typing import Self

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgserve.errors import BackendError, RequestRefused
from imgserve.frontend import markup
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import Failure, percent, say
from imgserve.frontend.waiting import Asking, explained

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

    @property
    def image(self) -> str:
        return f'<img src="{escape(self.thumbnail)}" alt="">' if self.thumbnail else ""


def as_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as a file that a spreadsheet opens without running any cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = [field.name for field in fields(Row) if field.name != "thumbnail"]
    writer.writerow(names)
    writer.writerows([_not_a_formula(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().encode()


def _not_a_formula(cell: object) -> object:
    """Return the cell, quoted where a spreadsheet would run it (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def classify_batch(asking: Asking) -> list[Row]:
    """Return a row for each picture, failed ones too, showing progress meanwhile.

    BackendError where there is no backend, as the first picture found out.
    """
    rows: list[Row] = []
    count = len(asking.pictures)
    asking.place.progress(0.0, f"0 / {count}")
    for picture, outcome in zip(asking.pictures, _outcomes(asking), strict=True):
        rows.append(Row.of(picture, outcome))
        asking.place.progress(len(rows) / count, f"{len(rows)} / {count}")
    return rows


def _outcomes(asking: Asking) -> Iterator[Answered | Failure]:
    """Yield the outcomes in order; the first picture alone waits for the backend to wake up."""

    def predict(picture: Picture) -> Answered:
        return asking.backend.predict(picture, asking.model)

    def outcome(picture: Picture) -> Answered | Failure:
        try:
            return predict(picture)
        except BackendError as exc:
            return explained(exc)

    first, *others = asking.pictures
    try:
        yield asking.patiently(lambda: predict(first))
    except RequestRefused as exc:
        yield explained(exc)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(outcome, others)


def show_table(rows: Sequence[Row]) -> None:
    """Draw the rows, how many failed, and the download."""
    cells = []
    for row in rows:
        words = row.answer + say(" (incomplete)") * row.incomplete or f"⚠ {row.problem}"
        share = "" if row.problem else markup.share(row.probability)
        cells.append((f"{row.image}<span>{escape(row.picture)}</span>", escape(words), share))
    done = sum(not row.problem for row in rows)
    said = say("{done} of {count} pictures classified", done=done, count=len(rows))
    head = say("Picture"), say("Answer"), say("Probability")
    st.html(markup.heading(said, said) + markup.table(say("Answers"), head, cells))
    _download(say("Download as CSV"), rows, "answers")


def _download(words: str, rows: Sequence[Row], name: str) -> None:
    key, file = f"download_{name}", as_csv(rows)
    st.download_button(words, file, f"{name}.csv", "text/csv", key=key, on_click="ignore")


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
    items = ""
    for row in reversed(rows):
        share = "" if row.probability is None else f" {percent(row.probability)}"
        items += f"<li>{row.image}<span>{escape((row.answer or '⚠') + share)}</span></li>"
    with place:
        st.html(f'{markup.heading(say("So far"))}<ul class="strip">{items}</ul>')
        with st.container(horizontal=True):
            _download(say("Download all as CSV"), rows, "answers_so_far")
            st.button(say("Clear"), on_click=lambda: st.session_state.pop("remembered", None))
