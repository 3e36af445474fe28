"""Rewrite the parts of Markdown texts that stand between marks: ``<!-- KIND:NAME -->``.

Run as ``make readme``, it writes the tables of environment variables into the README.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from imgserve.settings import BackendSettings, FrontendSettings, Settings
from tools.run.settings import RunSettings
from v3.gateway.settings import GatewaySettings

TABLES: dict[str, type[Settings]] = {
    "run": RunSettings,
    "backend": BackendSettings,
    "gateway": GatewaySettings,
    "frontend": FrontendSettings,
}


def names(text: str, kind: str) -> list[str]:
    """Return the names of a text's marks of one kind, in their order."""
    return re.findall(rf"<!-- {kind}:([\w-]+) -->", text)


def filled(text: str, kind: str, contents: Mapping[str, str]) -> str:
    """Return a text with these contents between its marks, in place of what stands there.

    A mark that ends its line has its content on lines of its own; any other has it inline::

        >>> filled("It took <!-- figures:s -->?<!-- /figures:s --> s.", "figures", {"s": "3"})
        'It took <!-- figures:s -->3<!-- /figures:s --> s.'

    Args:
        text: the Markdown.
        kind: the first word of the marks.
        contents: by the name of the mark.

    Raises:
        ValueError: a mark is missing, there twice, out of order or unknown; the message names it.
    """
    if unknown := [name for name in names(text, kind) if name not in contents]:
        raise ValueError(f"nothing is known to go after <!-- {kind}:{unknown[0]} -->")
    for name, content in contents.items():
        text = _replaced(text, f"<!-- {kind}:{name} -->", f"<!-- /{kind}:{name} -->", content)
    return text


def _replaced(text: str, start: str, end: str, content: str) -> str:
    if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
        raise ValueError(f"the text needs {start} and {end}, each once and in this order")
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    between = f"\n{content}\n" if rest.startswith("\n") else content
    return f"{before}{start}{between}{end}{after}"


def markdown_table(settings: type[Settings]) -> str:
    """Return the table of a service's environment variables."""
    rows = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for field in fields(settings):
        facts = field.metadata
        default = facts["shown"] or _shown(field.default)
        rows.append(
            f"| `{field.name.upper()}` | {default} | {facts['unit']} | {facts['meaning']} |"
        )
    return "\n".join(rows)


def _shown(default: Any) -> str:
    return f"`{default}`" if default not in ("", (), None) else "none"


def with_tables(text: str) -> str:
    """Return a text whose tables between ``<!-- settings:NAME -->`` marks are up to date.

    Raises:
        ValueError: a table has no pair of marks, or one too many; the message names it.
    """
    tables = {name: markdown_table(settings) for name, settings in TABLES.items()}
    return filled(text, "settings", tables)


def main(path: Path) -> None:
    """Rewrite the tables of one file."""
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
