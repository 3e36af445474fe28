"""What documents point at is there, what they quote is said, answers are short, tables current."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conventions.documents import DOCUMENTS, section, sections
from tests.conventions.source import modules
from tools.benchmarks.__main__ import PARTS
from tools.documents import TABLES, with_tables

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
SHELL = ("deployment/*.sh", "requirements/*.sh")
TARGET = re.compile(r"make ([a-z-]+)")
FILE = re.compile(r"[\w./*-]+(\.(sh|py|ya?ml|toml|json|md|awk)|/)|(tests|deployment)/[\w./*-]+")
LEAST_WORDS = 3  # of a quoted message, so that it says which one is meant


def anchors(root: Path, document: str) -> set[str]:
    """Return the names that GitHub gives a document's headings."""
    headings = [section.heading.lower() for section in sections(root, document)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings_that_are_there(document: str, root: Path) -> None:
    targets = LINK.findall((root / document).read_text(encoding="utf-8"))
    for target in targets:
        path, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            there = ((root / document).parent / path).resolve() if path else root / document
            assert there.exists(), target
            assert not anchor or anchor in anchors(root, str(there.relative_to(root))), target


def test_picture_of_the_readme_is_a_png_of_sensible_size(root: Path) -> None:
    ((words, path),) = PICTURE.findall((root / "README.md").read_text(encoding="utf-8"))
    assert len(words.split()) > LEAST_WORDS
    assert (root / path).stat().st_size < 200_000
    with Image.open(root / path) as picture:
        assert picture.format == "PNG"
        assert 900 <= picture.width <= 1100
        assert 400 <= picture.height <= 1600
        assert len(picture.convert("L").getcolors()) > 100, "it is blank"


# --- what sentences name ---------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_targets_of_make_and_parts_of_the_benchmark_that_sentences_name_are_there(
    document: str, root: Path, repository_files: list[Path]
) -> None:
    text = (root / document).read_text(encoding="utf-8")
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`([^`\n]+)`", prose)
    makefile = (root / "Makefile").read_text()
    targets = {match[1] for code in named if (match := TARGET.match(code))}
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
    files = {re.sub(r"COMPONENT|NAME", "*", code) for code in named if FILE.fullmatch(code)}
    there = {place for path in repository_files for place in (path, *path.parents)}
    patterns = {name.rstrip("/") for name in files} - {"models.toml"}  # a person's own
    assert [name for name in patterns if not any(path.match(name) for path in there)] == []
    parts = {part for words in re.findall(r'PARTS="?([a-z ]+)', text) for part in words.split()}
    assert parts <= set(PARTS)


# --- messages --------------------------------------------------------------------------------


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield each text of a module, docstrings aside, with a zero byte for what is filled in."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


def is_said(message: str, said: list[str]) -> bool:
    """Return whether one text has all parts of a message, `...` standing for what varies."""
    pattern = re.compile(".*".join(re.escape(part) for part in message.split("...")), re.DOTALL)
    return any(pattern.search(text) for text in said)


def test_messages_of_the_documents_are_the_code_s_and_long_enough(root: Path) -> None:
    scripts = [path for pattern in SHELL for path in root.glob(pattern)]
    said = [line for path in scripts for line in path.read_text().splitlines()]
    said += [text for module in modules(root) for text in strings(module.tree)]
    text = section(root, "When something goes wrong", "docs/troubleshooting.md").text
    messages = ROW.findall(text)
    assert len(messages) > 10
    assert [message for message in messages if not is_said(message, said)] == []
    short = {text for text in messages if len(re.findall(r"[A-Za-z]{3,}", text)) < LEAST_WORDS}
    assert short <= {"Backend unreachable"}
    for said_by_nobody in ("Port ... is taken. Stop what uses him", "imgserve cannot end: ..."):
        assert not is_said(said_by_nobody, said)


# --- SHORT_ANSWER.md and its French ----------------------------------------------------------

ANSWERS = ("SHORT_ANSWER.md", "SHORT_ANSWER.fr.md")
QUESTIONS = ("2", "4", "5", "7", "8", "9")
MOST_WORDS = 150  # tables and sources not counted
MOST_ROWS = 7  # of the one table, its head included


@pytest.mark.parametrize("file", ANSWERS)
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


# --- tables that are written from the code ---------------------------------------------------


def test_settings_have_the_tables_of_the_code_between_marks_that_are_asked_for(root: Path) -> None:
    text = (root / "docs" / "settings.md").read_text(encoding="utf-8")
    old = re.sub(r"(<!-- settings:\w+ -->\n).*?(<!-- /)", r"\1old\n\2", text, flags=re.DOTALL)
    assert old.count("\nold\n") == len(TABLES)
    assert with_tables(old) == text, "run `make readme`"
    with pytest.raises(ValueError, match="<!-- settings:run -->"):
        with_tables("# Title")


# --- the table of CONTRIBUTING.md ------------------------------------------------------------


def test_every_convention_is_named_with_its_file(root: Path) -> None:
    text = section(root, "What is held by tests", "CONTRIBUTING.md").text
    named = re.findall(r"^\| `(test_\w+\.py)` \|", text, re.MULTILINE)
    there = [path.name for path in (root / "tests" / "conventions").glob("test_*.py")]
    assert sorted(named) == sorted(there)
