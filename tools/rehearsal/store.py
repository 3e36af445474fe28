"""JSON documents on disk, by kind and name: all the memory that the stand-ins have."""

import json
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

Document = dict[str, Any]
SUFFIX = ".json"


class Store:
    """Documents under one folder; threads may share it, and a new process finds them again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()  # hold it to read, decide and write as one
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, kind: str, name: str) -> Document | None:
        """Return the document, or None where there is none."""
        try:
            text = self._path(kind, name).read_text("utf-8")
        except FileNotFoundError:
            return None
        document: Document = json.loads(text)
        return document

    def put(self, kind: str, name: str, value: Document) -> None:
        """Write the document whole: a reader sees the old one or the new one."""
        path = self._path(kind, name)
        with self.lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, json.dumps(value, ensure_ascii=False, indent=1))

    def delete(self, kind: str, name: str) -> bool:
        """Remove the document; return whether there was one."""
        try:
            self._path(kind, name).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self, kind: str) -> list[str]:
        """Return the names of this kind's documents, in order."""
        files = (self.folder / kind).glob(f"*{SUFFIX}")
        return sorted(unquote(file.name.removesuffix(SUFFIX)) for file in files)

    def update(self, kind: str, name: str, change: Callable[[Document], None]) -> Document | None:
        """Change the document as one act; return it, or None where there is none."""
        with self.lock:
            document = self.get(kind, name)
            if document is not None:
                change(document)
                self.put(kind, name, document)
            return document

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{quote(name, safe='')}{SUFFIX}"


def _write_whole(path: Path, text: str) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)


def documents(folder: Path) -> Store:
    """Return the documents of the server whose folder this is."""
    return Store(folder / "documents")
