"""Rewrite the parts of a Markdown text that stand between marks: ``<!-- KIND:NAME -->``."""

import re
from collections.abc import Mapping


def names(text: str, kind: str) -> list[str]:
    """Return the names of a text's marks of one kind, in their order."""
    return re.findall(rf"<!-- {kind}:([\w-]+) -->", text)


def filled(text: str, kind: str, contents: Mapping[str, str]) -> str:
    """Return a text with these contents between its marks, in place of what stands there.

    A mark that ends its line has its content on lines of its own; any other has it in the sentence.

    Args:
        text: the Markdown.
        kind: the first word of the marks.
        contents: by the name of the mark.

    Raises:
        ValueError: a mark is missing, there twice, out of order or unknown; the message names it.
    """
    for name in names(text, kind):
        if name not in contents:
            raise ValueError(f"nothing is known to go after {_marks(kind, name)[0]}")
    for name, content in contents.items():
        text = _replaced(text, _marks(kind, name), content)
    return text


def _marks(kind: str, name: str) -> tuple[str, str]:
    return f"<!-- {kind}:{name} -->", f"<!-- /{kind}:{name} -->"


def _replaced(text: str, marks: tuple[str, str], content: str) -> str:
    start, end = marks
    if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
        raise ValueError(f"the text needs {start} and {end}, each once and in this order")
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    between = f"\n{content}\n" if rest.startswith("\n") else content
    return f"{before}{start}{between}{end}{after}"
