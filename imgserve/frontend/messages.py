"""What the page says: the sentence of an answer or a failure, and outside text made harmless."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgserve.contract import Prediction
from imgserve.errors import (
    BackendBusy,
    BackendError,
    BackendNotReady,
    BackendTimeout,
    BackendUnreachable,
    CallerNotAllowed,
    IdentityUnavailable,
    PictureHostRefused,
    RequestRefused,
)
from imgserve.frontend.french import PROBLEMS
from imgserve.frontend.kin import kin
from imgserve.frontend.language import language, number, say

DESCRIPTION = (
    "Show me a picture, by its address or from your device: I will tell you what is in it."
)

# Below this the sentence says that it is a guess. Of three models' answers about 500 labelled
# photographs, 60 % of those below were right, 94 % of the others (docs/how-it-works.md).
SURE_FROM = 0.3
INCOMPLETE = "The end of this picture's file is missing. The answer is about the part above."

_VOWEL_SOUND = re.compile(r"[aio]|e(?!u)|u(?!ni)|hour", re.IGNORECASE)
# ImageNet's classes that are plural, or a mass rather than a thing.
_WITHOUT_ARTICLE = frozenset(
    {"binoculars", "broccoli", "carbonara", "chain mail", "chocolate sauce", "consomme", "corn"}
    | {"dough", "eggnog", "guacamole", "hair spray", "hay", "ice cream", "mashed potato"}
    | {"parallel bars", "red wine", "sunglasses", "swimming trunks", "toilet tissue", "wool"}
)

_LINKLIKE = re.compile(r"(\S*(?:://\w|www\.|@)\S*)", re.IGNORECASE)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, what to do next, and whether asking again can help.

    It may be noted in a thread that knows no page, so it is translated where it is shown.
    """

    sentence: str
    next_step: str = ""
    again: bool = True
    slug: str = ""  # of the backend's problem, whose own words are English

    def words(self) -> str:
        """Return both sentences in the person's language."""
        if language() == "fr" and self.slug in PROBLEMS:
            return PROBLEMS[self.slug]
        return " ".join(filter(None, (say(self.sentence), say(self.next_step))))


FAILURES: Mapping[type[BackendError], Failure] = {
    BackendBusy: Failure("The classifier is busy right now.", "Try again in a few seconds."),
    BackendNotReady: Failure("The classifier is still waking up.", "Try again in a minute."),
    BackendTimeout: Failure(
        "The classifier took too long to answer.", "Try again, or with a smaller picture."
    ),
    BackendUnreachable: Failure(
        "The classifier cannot be reached at the moment.",
        "It may be starting, or be down for a while: try again in a minute.",
    ),
    CallerNotAllowed: Failure(
        "This page may not call its classifier.",
        "It is not set up correctly: the page's log says what to change.",
        again=False,
    ),
    IdentityUnavailable: Failure(
        "This page could not show its classifier who it is.",
        "Try again in a minute; the page's log says why.",
    ),
}


def with_article(category: str) -> str:
    """Return the class's name as it stands in a sentence, such as "an otter"."""
    name = category.replace("_", " ")
    if language() != "en":
        return name  # the model's own, which has no article in another language
    if name in _WITHOUT_ARTICLE:
        return name
    return f"{'an' if _VOWEL_SOUND.match(name) else 'a'} {name}"


def answer_sentence(category: str, predictions: Sequence[Prediction]) -> str:
    """Return what the page thinks the picture shows, saying so where that is a guess.

    >>> answer_sentence("tabby", [Prediction("tabby", 281, 0.4), Prediction("tiger cat", 282, 0.3)])
    'I think this is an image of a cat: tabby or tiger cat'
    """
    word, names = kin(predictions)
    if word:
        names_in_words = joined(names, " or ")
        what = say("{word}: {names}", word=say(with_article(word)), names=names_in_words)
        return say("I think this is an image of {what}", what=what)
    what = with_article(category)
    if predictions and predictions[0].probability < SURE_FROM:
        return say("I am not sure, but I think this is an image of {what}", what=what)
    return say("I think this is an image of {what}", what=what)


def percent(probability: float) -> str:
    """Return a probability as a percentage with one decimal."""
    rounds_to_0 = 0 < probability < 0.0005  # noqa: PLR2004
    return number("<0.1%" if rounds_to_0 else f"{probability:.1%}")


def duration(milliseconds: float) -> str:
    """Return a time as a person reads it."""
    if milliseconds >= 1000:  # noqa: PLR2004 a second
        return number(f"{milliseconds / 1000:.1f} s")
    return f"{milliseconds:.0f} ms"


def parameters(count: int) -> str:
    """Return how large a model is, as a person reads it."""
    return say("{count} M parameters", count=number(f"{count / 1e6:.1f}"))


def joined(names: Sequence[str], last: str = " and ") -> str:
    """Return names as they stand in a sentence: "a, b and c"."""
    return say(last).join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def failure(error: BackendError) -> Failure:
    """Return what the page says about this error."""
    if isinstance(error, RequestRefused):
        again = error.status >= 500 and error.slug != PictureHostRefused.slug  # noqa: PLR2004
        return Failure(as_sentence(str(error)), again=again, slug=error.slug)
    return FAILURES[type(error)]


def as_sentence(detail: str) -> str:
    """Return the words of an error with a capital and a full stop."""
    sentence = detail[:1].upper() + detail[1:].rstrip()
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def plain(text: str) -> str:
    """Return Markdown that shows this text as it is: no link, no picture, no formatting.

    Streamlit turns whatever looks like an address into a link, escaped or not, except in code.
    """
    parts = _LINKLIKE.split(" ".join(text.split()))
    return "".join(_code(part) if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _PUNCTUATION.sub(r"\\\1", text)


def _code(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"
