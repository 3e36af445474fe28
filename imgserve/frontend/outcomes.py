"""What came of a question with several answers: one for each picture, or for each model."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import streamlit as st

from imgserve.contract import Prediction
from imgserve.frontend.client import Answered, Picture
from imgserve.frontend.messages import Failure, duration, html, joined, say
from imgserve.frontend.model_choice import KnownModel

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TOP_CLASSES = 2  # of each model may get a column
COLUMNS = 4


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


def show_table(rows: Sequence[Row]) -> None:
    cells = []
    for row in rows:
        words = row.answer + say(" (incomplete)") * row.incomplete or f"⚠ {row.problem}"
        share = "" if row.problem else html.share(row.probability)
        cells.append((html.pictured(row, row.picture), words, share))
    done = sum(not row.problem for row in rows)
    said = say("{done} of {count} pictures classified", done=done, count=len(rows))
    head = say("Picture"), say("Answer"), say("Probability")
    st.html(html.heading(said, said) + html.table(head, cells))
    download(say("Download as CSV"), rows, "answers")


def download(words: str, rows: Sequence[Row], name: str) -> None:
    key, file = f"download_{name}", as_csv(rows)
    st.download_button(words, file, f"{name}.csv", "text/csv", key=key, on_click="ignore")


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


Comparison = dict[KnownModel, Answered | Failure]
Stages = Mapping[KnownModel, str | Answered | Failure]  # what each is doing, or what came of it


def comparison_so_far(stages: Stages) -> str:
    """Return the HTML of a comparison that still lacks answers."""
    done = sum(not isinstance(stage, str) for stage in stages.values())
    said = say("{done} of {count} models have answered", done=done, count=len(stages))
    return str(html.comparison(said, "", *_table(stages)))


def show_comparison(outcomes: Comparison, picture: Picture) -> None:
    said, answered = sentence(outcomes), _answered(outcomes).values()
    answers = [one.answer for one in answered]
    thumbnail = next((one.thumbnail for one in answered if one.thumbnail), None)
    fetched = bool(picture.url and answers)
    st.html(html.comparison(said, said, *_table(outcomes), answers, thumbnail, fetched))


def sentence(outcomes: Comparison) -> str:
    """Return how far the models agree."""
    answered = _answered(outcomes)
    best = [one.answer.predictions[0].category for one in answered.values()]
    if not best:
        return say("No model answered")
    (first, most), *others = counts = Counter(best).most_common()  # ids are each model's own
    if len(best) == 1:
        return say("Only {model} answered: {what}", model=next(iter(answered)).title, what=first)
    if most > 1 and all(count < most for _, count in others):
        agree, count = "{most} of {count} models agree: {what}", len(outcomes)
        return say(agree, most=most, count=count, what=first)
    said = [name if most == 1 else f"{name} ({count})" for name, count in counts]
    return say("The models disagree: {what}", what=joined(said))


def _answered(stages: Stages) -> dict[KnownModel, Answered]:
    return {model: stage for model, stage in stages.items() if isinstance(stage, Answered)}


def _table(stages: Stages) -> tuple[list[str], list[list[Any]]]:
    """Return a row for each model, and a column for each of the classes most believed in."""
    answers = {model: one.answer.predictions for model, one in _answered(stages).items()}
    shares = class_shares(answers)
    rows = []
    for model, stage in stages.items():
        if isinstance(stage, Answered):
            cells = [html.share(by_model.get(model)) for by_model in shares.values()]
            said = duration(stage.round_trip_ms)
        else:
            cells = [""] * len(shares)
            said = stage.words() if isinstance(stage, Failure) else say(stage)
        rows.append([model.title, *cells, said])
    return [say("Model"), *shares, say("Time")], rows


def class_shares(
    predictions: Mapping[KnownModel, Sequence[Prediction]],
) -> dict[str, dict[KnownModel, float]]:
    """Return, by class, each model's probability; the class most believed in first.

    Models may know different classes: those with one name are one.
    """
    named = {top.category for classes in predictions.values() for top in classes[:TOP_CLASSES]}
    rows: dict[str, dict[KnownModel, float]] = {}
    for model, classes in predictions.items():
        for one in classes:
            if one.category in named:
                shares = rows.setdefault(one.category, {})
                shares[model] = shares.get(model, 0.0) + one.probability
    believed = sorted(rows, key=lambda name: -sum(rows[name].values()))
    return {name: rows[name] for name in believed[:COLUMNS]}
