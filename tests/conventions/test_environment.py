"""Functions take values: only what is started reads the environment."""

import ast
from pathlib import Path

from tests.conventions.source import Module, modules

# Module to the reason it may read the environment.
READERS = {
    "imgserve.machine": "the user says where caches are kept",
    "backend_v1.app": "a service is told by its environment",
    "backend_v2.app": "a service is told by its environment",
    "v3.backend.app": "a service is told by its environment",
    "frontend_v1.app": "a service is told by its environment",
    "frontend_v2.app": "a service is told by its environment",
    "v3.frontend.app": "a service is told by its environment",
    "imgserve.frontend.__main__": "a command",
    "imgserve.evaluate.__main__": "a command",
    "v3.gateway.__main__": "a command, and a service",
    "imgserve.backend.gunicorn.conf": "gunicorn reads it before the app",
}


def reads_environment(module: Module) -> bool:
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return bool({"os.environ", "os.getenv"} & (attributes | set(module.imports())))


def test_only_what_is_started_reads_the_environment(root: Path) -> None:
    product = [module for module in modules(root) if not module.name.startswith("tools")]
    readers = {module.name for module in product if reads_environment(module)}
    assert readers - set(READERS) == set()
