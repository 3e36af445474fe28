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
    """What stands below one heading, up to the next."""

    document: str
    heading: str
    text: str  # all of it, the heading's line included

    @property
    def commands(self) -> list[str]:
        """Return the commands of its ``sh`` blocks, without comments; ``&&`` joins several."""
        blocks = "".join(block for _, block in BLOCK.findall(self.text))
        lines = re.sub(r" *\\\n *", " ", blocks).splitlines()
        bare = [re.sub(r"(^|\s+)#( .*)?$", "", line).strip() for line in lines]
        return [command for line in bare if line for command in line.split(" && ")]


def sections(root: Path, *documents: str) -> Iterator[Section]:
    """Yield the sections of these documents, or of all."""
    for document in documents or DOCUMENTS:
        yield from split((root / document).read_text(encoding="utf-8"), document)


def section(root: Path, heading: str, document: str) -> Section:
    """Return the one section with a heading."""
    (found,) = [part for part in sections(root, document) if part.heading == heading]
    return found


def split(text: str, document: str) -> list[Section]:
    """Return a text's sections; a ``#`` inside a block of code begins none."""
    parts: list[list[str]] = [[]]
    in_code = False
    for line in text.splitlines(keepends=True):
        in_code ^= bool(FENCE.match(line))
        if line.startswith("#") and not in_code and parts[-1]:
            parts.append([])
        parts[-1].append(line)
    return [Section(document, part[0].strip("# \n"), "".join(part)) for part in parts]
