"""SHORT_ANSWER.md and SHORT_ANSWER.fr.md answer every question: shortly, with their sources."""

import re
from pathlib import Path

import pytest

FILES = ("SHORT_ANSWER.md", "SHORT_ANSWER.fr.md")
QUESTIONS = ("2", "4", "5", "7", "8", "9")
MOST_WORDS = 150  # tables and sources not counted
MOST_ROWS = 7  # of the one table, its head included


@pytest.mark.parametrize("file", FILES)
def test_every_question_has_a_short_answer_first_and_its_sources_last(
    file: str, root: Path
) -> None:
    text = (root / file).read_text(encoding="utf-8")
    parts = re.split(r"^## Question (\d+) ?: .*$", text, flags=re.MULTILINE)[1:]
    answers = dict(zip(parts[::2], parts[1::2], strict=True))
    assert tuple(answers) == QUESTIONS
    for answer in answers.values():
        said, _, sources = re.split(r"\nSources ?(:)", answer)
        assert said.strip().startswith("**")
        assert re.findall(r"\]\(https://[^)\s]+\)", sources)
        prose = re.sub(r"^\|.*$", "", said, flags=re.MULTILINE)
        assert len(prose.split()) <= MOST_WORDS
        assert said.count("\n|") <= MOST_ROWS
