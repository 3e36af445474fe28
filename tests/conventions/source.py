"""The project's own modules, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDERS = ("imgserve", "backend_v1", "backend_v2", "frontend_v1", "frontend_v2", "v3", "tools")


@dataclass(frozen=True)
class Module:
    """One Python file of the project."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    def imports(self) -> Iterator[str]:
        """Yield the full name of every module or object that is imported, wherever in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.path}: relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def modules(root: Path, *folders: str) -> list[Module]:
    """Return every module of these folders, or of the package, the services and the tools."""
    paths = [path for folder in folders or FOLDERS for path in (root / folder).rglob("*.py")]
    return [_parsed(path, root) for path in sorted(paths)]


def _parsed(path: Path, root: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, relative, ast.parse(text), len(text.splitlines()))
