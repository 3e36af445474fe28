"""The documents' tables of environment variables are those of the code."""

from pathlib import Path

import pytest

from tools.documents import TABLES, markdown_table, with_tables


def test_settings_have_the_tables_of_the_code(root: Path) -> None:
    text = (root / "docs" / "settings.md").read_text(encoding="utf-8")
    assert text == with_tables(text), "run `make readme`"


def test_with_tables_replaces_what_is_between_the_marks() -> None:
    marks = [f"<!-- settings:{name} -->\nold\n<!-- /settings:{name} -->\n" for name in TABLES]
    text = with_tables("\n\n".join(["# Title", *marks, "end"]))
    assert "old" not in text
    assert text.startswith("# Title")
    assert text.endswith("end")
    assert all(markdown_table(settings) in text for settings in TABLES.values())


def test_with_tables_without_a_mark_names_it() -> None:
    with pytest.raises(ValueError, match="<!-- settings:run -->"):
        with_tables("# Title")
