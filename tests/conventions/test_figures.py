"""What was measured stands in the texts as `make answers` writes it, and nowhere else."""

import re
from pathlib import Path

import pytest

from imgserve.compile.quantize import LEAST_AGREEMENT
from tools.benchmarks.answers.__main__ import KIND, SHORT_ANSWER, WANTED, with_figures
from tools.benchmarks.paths import RESULTS
from tools.benchmarks.records import Results

QUESTIONS = ("2", "4", "5", "7", "8", "9")
FRENCH = "### En français"
# Between the marks stands what was measured; rows of other tables are published, with their source.
MEASURED = re.compile(rf"<!-- {KIND}:([\w-]+) -->.*?<!-- /{KIND}:\1 -->|^\|.*?$", re.S | re.M)
FIGURE = re.compile(r"\b\d[\d.,]*\s?(?:ms|MB|GB|GiB|s|seconds|times|fois|%|answers)(?!\w)")
# Not measured: what it is, and where it comes from.
PUBLISHED = {
    f"{100 * LEAST_AGREEMENT:.0f} %": "what int8 must reach, a setting of the code",
    "4 times": "PyTorch's recipe",
    "10 GB": "Google's advice on models in images",
}


@pytest.fixture(scope="module")
def short_answer(root: Path) -> str:
    return (root / SHORT_ANSWER).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answers(short_answer: str) -> dict[str, str]:
    """Return the answers by the number of their question."""
    parts = re.split(r"^## Question (\d+): .*$", short_answer, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", WANTED)
def test_the_text_is_what_make_answers_would_write(name: str, root: Path) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert text == with_figures(text, WANTED[name], Results(RESULTS)), "run `make answers`"


def test_every_question_is_answered(answers: dict[str, str]) -> None:
    assert tuple(answers) == QUESTIONS


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_there_in_both_languages_with_its_sources(
    question: str, answers: dict[str, str]
) -> None:
    english, french = answers[question].split(FRENCH)
    assert english.strip().startswith("**")  # the answer itself comes first
    assert french.strip().startswith("**")
    assert min(len(english.split()), len(french.split())) >= 100
    sources = english.partition("\nSources: ")[2]
    assert re.findall(r"\]\(https://[^)\s]+\)", sources)


def test_no_measured_figure_stands_outside_of_the_marks(short_answer: str) -> None:
    prose = MEASURED.sub("", short_answer)
    assert [figure for figure in FIGURE.findall(prose) if figure not in PUBLISHED] == []
    assert [figure for figure in PUBLISHED if figure not in prose] == []


def test_no_line_begins_with_a_figure(short_answer: str) -> None:
    """Markdown takes such a line for HTML, and shows the rest of it as it is."""
    assert re.findall(rf"^ *<!-- {KIND}:[\w-]+ -->.+$", short_answer, re.M) == []


def test_every_test_and_file_that_an_answer_names_is_there(short_answer: str, root: Path) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py"))
    named = re.findall(r"`(test_\w+)`", short_answer)
    assert [name for name in named if f"def {name}(" not in tests] == []
    files = re.findall(r"`((?:tests|imgserve|deployment|backend_v1|v3)/[\w./]+)`", short_answer)
    assert [file for file in files if not (root / file).exists()] == []
    assert named
    assert files
