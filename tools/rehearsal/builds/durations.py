"""Durations in the form of Google's JSON: seconds with an ``s`` behind."""

import re

from tools.rehearsal.answers import invalid


def seconds(text: str) -> float:
    """Return the seconds of ``"600s"`` or ``"1.5s"``.

    Raises:
        ApiError: 400 for any other form.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", text)
    if found is None:
        raise invalid(f"Illegal duration format; duration must end with 's': {text!r}")
    return float(found[1])
