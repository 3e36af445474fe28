"""SHORT_ANSWER.md answers every question, in both languages, with its sources."""

import re
from pathlib import Path

import pytest

QUESTIONS = ("2", "4", "5", "7", "8", "9")
FRENCH = "### En français"


@pytest.fixture(scope="module")
def short_answer(root: Path) -> str:
    return (root / "SHORT_ANSWER.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answers(short_answer: str) -> dict[str, str]:
    """Return the answers by the number of their question."""
    parts = re.split(r"^## Question (\d+): .*$", short_answer, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_question_is_answered(answers: dict[str, str]) -> None:
    assert tuple(answers) == QUESTIONS


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_has_two_languages_and_sources(question: str, answers: dict[str, str]) -> None:
    english, french = answers[question].split(FRENCH)
    assert english.strip().startswith("**")  # the answer itself comes first
    assert french.strip().startswith("**")
    assert min(len(english.split()), len(french.split())) >= 100
    sources = english.partition("\nSources: ")[2]
    assert re.findall(r"\]\(https://[^)\s]+\)", sources)


def test_every_test_and_file_that_an_answer_names_is_there(short_answer: str, root: Path) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py"))
    named = re.findall(r"`(test_\w+)`", short_answer)
    assert [name for name in named if f"def {name}(" not in tests] == []
    files = re.findall(r"`((?:tests|imgserve|deployment|backend_v1|v3)/[\w./]+)`", short_answer)
    assert [file for file in files if not (root / file).exists()] == []
    assert named
    assert files
