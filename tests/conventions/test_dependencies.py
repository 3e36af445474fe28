"""What the code imports, pyproject.toml asks for by name."""

import sys
import tomllib
from pathlib import Path

from tests.conventions.source import FOLDERS, modules

OWN = set(FOLDERS)
# Import name to the distribution's, where they differ.
DISTRIBUTIONS = {
    "AntiSSRF": "microsoft-antissrf",
    "PIL": "pillow",
    "google": "google-auth",
    "starlette": "streamlit",  # its application is one of Starlette's
    "uvicorn": "streamlit",  # which listens for it
    "pandas": "streamlit",  # what it hands tables and charts on with; Streamlit's pin decides
    "werkzeug": "flask",  # Flask's other half; Flask's pin decides
}


def test_every_import_is_a_dependency_that_was_asked_for(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    served = ("backend", "frontend", "compile", "quantize", "onnx")
    pins = [*project["dependencies"], *(pin for name in served for pin in extras[name])]
    asked = {pin.partition("==")[0] for pin in pins}
    product = [module for module in modules(root) if not module.name.startswith("tools")]
    imported = {name.partition(".")[0] for module in product for name in module.imports()}
    third_party = imported - OWN - sys.stdlib_module_names
    named = {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in third_party}
    assert named - asked == set()
