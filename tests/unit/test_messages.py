"""What the page says: sentences, names, numbers, in both languages."""

import ast
import re
from pathlib import Path

import pytest

from imgserve import errors
from imgserve.contract import Prediction, Timings
from imgserve.frontend import messages
from imgserve.frontend.messages import FRENCH, PROBLEMS, answer_sentence, duration, joined, percent
from imgserve.settings import FrontendSettings
from v3.gateway import nginx as gateway

SNAKES = "rock python", "boa constrictor"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"tabby": 0.4, "tiger cat": 0.2}, "a cat: tabby or tiger cat"),
        (
            {"tabby": 0.2, "lynx": 0.15, "tiger cat": 0.15, "Egyptian cat": 0.15},
            "a cat: tabby, tiger cat or Egyptian cat",
        ),
        ({"tabby": 0.4, "tiger cat": 0.2, "Persian cat": 0.05}, "a cat: tabby or tiger cat"),
        ({"tabby": 0.5, "tiger cat": 0.4}, "a tabby"),
        ({"tabby": 0.3, "tiger cat": 0.1}, "a tabby"),
        ({"pets": 0.4, "birds": 0.4}, "a pets"),
        (dict.fromkeys(SNAKES, 0.25), "a snake: rock python or boa constrictor"),
        (dict.fromkeys(SNAKES, 0.499), "a snake: rock python or boa constrictor"),
        (dict.fromkeys(SNAKES, 0.5), "a rock python"),
        ({"Siberian husky": 0.3, "malamute": 0.3}, "a dog: Siberian husky or malamute"),
        ({"ostrich": 0.3, "hummingbird": 0.3}, "a bird: ostrich or hummingbird"),
        ({"leopard": 0.3, "jaguar": 0.3}, "a big cat: leopard or jaguar"),
        ({"lynx": 0.3, "cougar": 0.3}, "a lynx"),  # wildcats, none a big cat
        ({"wood rabbit": 0.3, "hare": 0.3}, "a wood rabbit"),
        ({"crayfish": 0.3, "American lobster": 0.3}, "a crayfish"),
        ({"timber wolf": 0.3, "Siberian husky": 0.3}, "a timber wolf"),
    ],
    ids=str,
)
def test_a_doubt_between_kin_names_what_they_have_in_common(
    shares: dict[str, float], said: str
) -> None:
    predictions = [Prediction(name, 1, share) for name, share in shares.items()]
    assert answer_sentence(next(iter(shares)), predictions) == f"I think this is an image of {said}"


def test_an_unlikely_answer_is_called_a_guess() -> None:
    snakes = [Prediction(name, 1, 0.249) for name in SNAKES]
    for predictions in (snakes, [Prediction("otter", 1, 0.29)]):
        said = answer_sentence(predictions[0].category, predictions)
        assert said.startswith("I am not sure, but I think this is an image of a")


def test_no_class_is_of_two_kins() -> None:
    lines = Path(messages.__file__).with_name("kin.txt").read_text().splitlines()
    groups = (line.split(": ")[1] for line in lines if not line.startswith("#"))
    names = [name for group in groups for name in group.split(", ")]
    assert len(names) == len(set(names)) > 300


PHRASES = (
    *("a tabby", "an Egyptian cat", "a European gallinule", "a unicycle", "an umbrella"),
    *("an hourglass", "a hare", "an iPod", "sunglasses", "broccoli", "a tiger shark"),
)


@pytest.mark.parametrize("phrase", PHRASES)
def test_classes_are_named_with_the_right_article(phrase: str) -> None:
    category = re.sub("^an? ", "", phrase).replace(" ", "_")
    assert answer_sentence(category, []) == f"I think this is an image of {phrase}"


def test_numbers_and_lists_read_well() -> None:
    shares = {1: "100.0%", 0.5004: "50.0%", 0.0006: "0.1%", 0.0001: "<0.1%", 0: "0.0%"}
    assert {share: percent(share) for share in shares} == shares
    times = {0: "0 ms", 12.4: "12 ms", 999: "999 ms", 1000: "1.0 s"}
    assert {ms: duration(ms) for ms in times} == times
    assert [joined("abc"[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_every_backend_error_has_words_of_its_own() -> None:
    kinds = set(errors.BackendError.__subclasses__()) - {errors.RequestRefused}  # brings its own
    assert set(messages.FAILURES) == kinds
    assert all(said.sentence and said.next_step for said in messages.FAILURES.values())
    assert len(set(messages.FAILURES.values())) == len(kinds)


def test_every_problem_that_a_page_may_meet_is_said_in_french() -> None:
    of_programs = {"error", "unknown-route", "method-not-allowed"}
    of_programs |= {"request-timeout", "head-too-large", "unsupported-transfer-encoding"}
    said_in_full = {"busy", "not-ready"}  # these are errors of their own on a page
    of_the_gateway = {gateway.ModelUnreachable.slug, gateway.ModelTooSlow.slug}
    met = (errors.http_errors().keys() | of_the_gateway) - of_programs - said_in_full
    assert met == set(PROBLEMS)


def test_every_sentence_of_the_page_is_said_in_french_and_nothing_else(root: Path) -> None:
    """What ``say`` is given, and all else in the code that is written like a sentence."""
    folder = root / "imgserve" / "frontend"
    nodes = list(ast.walk(ast.parse("".join(path.read_text() for path in folder.glob("*.py")))))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    texts = [
        node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    given = [call.args[0] for call in calls if getattr(call.func, "id", "") == "say"]
    in_html = set(re.findall(r'\bsay\("(.*?)"[,)]', (folder / "parts.html").read_text()))
    said = {text.value for text in texts if text in given} | in_html
    others = (text.value for text in texts if text not in docstrings)
    said |= {text for text in others if re.match(r"[A-Z][^\n<>]* \S", text)}
    samples = {path.stem.capitalize() for path in FrontendSettings().samples_dir.glob("*.jpg")}
    said |= {*Timings.__struct_fields__}
    assert said <= set(FRENCH)
    known = said | {text.value for text in texts} | {FrontendSettings().page_title, *samples}
    assert set(FRENCH) <= known
    for english, french in FRENCH.items():
        assert set(re.findall("{.*?}", english)) == set(re.findall("{.*?}", french))
