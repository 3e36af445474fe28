"""Files that lie beside the project on some machines: for tests that do more where they are."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

SHARED = Path(__file__).parents[2] / "shared"
CASES = SHARED / "cases"  # small files that people sent
PHOTOS = SHARED / "photos"  # labelled photographs

Test = TypeVar("Test", bound=Callable[..., None])


def needs(folder: Path) -> Callable[[Test], Test]:
    """Return what leaves a test out, in CI as well, where a folder is not there."""
    extra, skip = (
        pytest.mark.extra,
        pytest.mark.skipif(not folder.is_dir(), reason=f"shared/{folder.name} is not here"),
    )
    return lambda test: extra(skip(test))
