"""A build's log: one file, a line for a line, each with its time."""

import json
import threading
from pathlib import Path

from tools.rehearsal.answers import Json, now


class BuildLog:
    """Lines that steps write at the same time and readers read meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, *lines: str) -> None:
        """Append lines."""
        text = "".join(f"{json.dumps([now(), line])}\n" for line in lines)
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(text)


def entries(path: Path) -> list[Json]:
    """Return the log's lines as ``timestamp`` and ``textPayload``; none where there is no log."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{"timestamp": time, "textPayload": text} for time, text in lines]


def text(path: Path) -> str:
    """Return the log as one text."""
    return "".join(f"{entry['textPayload']}\n" for entry in entries(path))
