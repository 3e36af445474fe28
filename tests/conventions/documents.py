"""The documents that people read, in sections, and the commands that stand in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = ("how-it-works", "api", "settings", "deploying", "costs", "troubleshooting", "own-model")
PAGES += ("pictures", "evidence")
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "SHORT_ANSWER.md", "SHORT_ANSWER.fr.md"),
    *(f"docs/{page}.md" for page in PAGES),
)
FENCE = re.compile(r"^ *```")
BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """What stands below one heading, up to the next.

    Attributes:
        heading: its words.
        text: all of it, the heading's line included.
    """

    document: str
    heading: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Return the commands of its ``sh`` blocks: one line each, without comments."""
        return [command for _, block in BLOCK.findall(self.text) for command in commands(block)]


def sections(root: Path, *documents: str) -> Iterator[Section]:
    """Yield the sections of these documents, or of all."""
    for document in documents or DOCUMENTS:
        yield from split((root / document).read_text(encoding="utf-8"), document)


def section(root: Path, heading: str, document: str) -> Section:
    """Return the one section with a heading."""
    (found,) = [part for part in sections(root, document) if part.heading == heading]
    return found


def split(text: str, document: str) -> Iterator[Section]:
    """Yield a text's sections; a ``#`` inside a block of code begins none."""
    lines: list[str] = []
    in_code = False
    for line in text.splitlines(keepends=True):
        in_code ^= bool(FENCE.match(line))
        if line.startswith("#") and not in_code and lines:
            yield _section(lines, document)
            lines = []
        lines.append(line)
    yield _section(lines, document)


def _section(lines: list[str], document: str) -> Section:
    return Section(document, lines[0].strip("# \n"), "".join(lines))


def commands(block: str) -> list[str]:
    """Return the commands of a block of shell: those joined by ``&&`` are several."""
    lines = re.sub(r" *\\\n *", " ", block).splitlines()
    bare = [re.sub(r"(^|\s+)#( .*)?$", "", line).strip() for line in lines]
    return [command for line in bare if line for command in line.split(" && ")]
