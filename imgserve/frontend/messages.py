"""What the page says, in English or French: sentences, numbers, and why there is no answer.

A sentence stands in English where it is said, and beside it in ``french.toml``. The HTML around it
is in ``parts.html``: ``html.heading("...")`` is the macro of that name there.
"""

import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from streamlit.runtime.scriptrunner import get_script_run_ctx

from imgserve import errors
from imgserve.contract import Prediction

log = logging.getLogger(__name__)

_CATALOGUE = tomllib.loads(Path(__file__).with_name("french.toml").read_text(encoding="utf-8"))
FRENCH: Mapping[str, str] = _CATALOGUE["sentences"]
PROBLEMS: Mapping[str, str] = _CATALOGUE["problems"]
DESCRIPTION = (
    "Show me a picture, by its address or from your device: I will tell you what is in it."
)

# Below this the sentence says that it is a guess. Of three models' answers about 500 labelled
# photographs, 60 % of those below were right, 94 % of the others (docs/how-it-works.md).
SURE_FROM = 0.3
# Three models were less sure than this of 395 of 3 x 500 labelled photographs. Where kin were as
# probable as this together, the word was right for 64 of 68 (docs/how-it-works.md, 2026-11-27).
LIKELY_FROM = 0.5

_VOWEL_SOUND = re.compile(r"[aio]|e(?!u)|u(?!ni)|hour", re.IGNORECASE)
# ImageNet's classes that are plural, or a mass rather than a thing.
_WITHOUT_ARTICLE = frozenset(
    {"binoculars", "broccoli", "carbonara", "chain mail", "chocolate sauce", "consomme", "corn"}
    | {"dough", "eggnog", "guacamole", "hair spray", "hay", "ice cream", "mashed potato"}
    | {"parallel bars", "red wine", "sunglasses", "swimming trunks", "toilet tissue", "wool"}
)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, what to do next, and whether asking again can help.

    It may be noted in a thread that knows no page, so it is translated where it is shown.
    """

    sentence: str
    next_step: str = ""
    again: bool = True
    slug: str = ""  # of the backend's problem, whose own words are English

    def reason(self) -> str:
        is_known = language() == "fr" and self.slug in PROBLEMS
        return PROBLEMS[self.slug] if is_known else say(self.sentence)

    def words(self) -> str:
        return f"{self.reason()} {say(self.next_step)}".rstrip()


FAILURES: Mapping[type[errors.BackendError], Failure] = {
    errors.BackendBusy: Failure("The classifier is busy right now.", "Try again in a few seconds."),
    errors.BackendNotReady: Failure("The classifier is still waking up.", "Try again in a minute."),
    errors.BackendTimeout: Failure(
        "The classifier took too long to answer.", "Try again, or with a smaller picture."
    ),
    errors.BackendUnreachable: Failure(
        "The classifier cannot be reached at the moment.",
        "It may be starting, or be down for a while: try again in a minute.",
    ),
    errors.CallerNotAllowed: Failure(
        "This page may not call its classifier.",
        "It is not set up correctly: the page's log says what to change.",
        again=False,
    ),
    errors.IdentityUnavailable: Failure(
        "This page could not show its classifier who it is.",
        "Try again in a minute; the page's log says why.",
    ),
}


def explained(error: errors.BackendError) -> Failure:
    """Return what to tell the person, and tell the log what happened."""
    log.warning("%s: %s", type(error).__name__, error)
    if not isinstance(error, errors.RequestRefused):
        return FAILURES[type(error)]
    again = error.status >= 500 and error.slug != errors.PictureHostRefused.slug  # noqa: PLR2004
    detail = str(error).rstrip()
    stop = "" if detail.endswith((".", "!", "?")) else "."
    return Failure(detail[:1].upper() + detail[1:] + stop, again=again, slug=error.slug)


def language() -> str:
    """Return the person's choice, else the link's, else the browser's; English without a page."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    wanted = st.session_state.get("language") or st.query_params.get("lang") or st.context.locale
    return "fr" if (wanted or "").lower().startswith("fr") else "en"


def say(english: str, **values: object) -> str:
    """Return a sentence in the person's language, with these values in their places."""
    sentence = FRENCH.get(english, english) if language() == "fr" else english
    return sentence.format(**values) if values else sentence


def number(text: str) -> str:
    """Return a number written the English way as the person's language writes it."""
    if language() != "fr":
        return text
    return text.replace(".", ",").replace("%", "\u202f%")  # a thin space, where no line ends


def with_article(category: str) -> str:
    """Return the class's name as it stands in a sentence, such as "an otter"."""
    name = category.replace("_", " ")
    if language() != "en" or name in _WITHOUT_ARTICLE:
        return name  # the model's own, which has no article in another language
    return f"{'an' if _VOWEL_SOUND.match(name) else 'a'} {name}"


def answer_sentence(category: str, predictions: Sequence[Prediction]) -> str:
    """Return what the page thinks the picture shows, saying so where that is a guess.

    >>> answer_sentence("tabby", [Prediction("tabby", 281, 0.4), Prediction("tiger cat", 282, 0.3)])
    'I think this is an image of a cat: tabby or tiger cat'
    """
    sentence, what = "I think this is an image of {what}", with_article(category)
    word, names = kin(predictions)
    if word:
        what = say("{word}: {names}", word=with_article(word), names=joined(names, " or "))
    elif predictions and predictions[0].probability < SURE_FROM:
        sentence = "I am not sure, but I think this is an image of {what}"
    return say(sentence, what=what)


def kin(predictions: Sequence[Prediction]) -> tuple[str, list[str]]:
    """Return the word for what the likeliest classes have in common, and their names.

    A doubt between a tabby and a tiger cat is none about the cat. Both are empty where the first is
    likely enough by itself, or its kin are not together.
    """
    if not predictions or predictions[0].probability >= LIKELY_FROM:
        return "", []
    words = _kin_words().get(predictions[0].category, "")
    same = [top for top in predictions if words and _kin_words().get(top.category) == words]
    if len(same) < 2 or sum(top.probability for top in same) < LIKELY_FROM:  # noqa: PLR2004 kin
        return "", []
    english, french = words.split(" / ")
    names = [top.category for top in same if top.probability >= predictions[0].probability / 4]
    return french if language() == "fr" else english, names


@cache
def _kin_words() -> dict[str, str]:
    """Return the words, English and French, for each class that has kin."""
    lines = Path(__file__).with_name("kin.txt").read_text(encoding="utf-8").splitlines()
    groups = (line.split(": ") for line in lines if not line.startswith("#"))
    return {name: words for words, names in groups for name in names.split(", ")}


def percent(probability: float) -> str:
    return number("<0.1%" if 0 < probability < 0.0005 else f"{probability:.1%}")  # noqa: PLR2004


def duration(milliseconds: float) -> str:
    if milliseconds >= 1000:  # noqa: PLR2004 a second
        return number(f"{milliseconds / 1000:.1f} s")
    return f"{milliseconds:.0f} ms"


def joined(names: Sequence[str], last: str = " and ") -> str:
    """Return names as they stand in a sentence: "a, b and c"."""
    return say(last).join(filter(None, (", ".join(names[:-1]), *names[-1:])))


# Streamlit lets through no script in HTML, and text that is put in is escaped.
_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)
_environment.globals |= {"language": language, "percent": percent, "say": say}
html: Any = _environment.get_template("parts.html").module
