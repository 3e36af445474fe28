"""Start a frontend as a container does: ``python -m imgserve.frontend frontend_v1/app.py``.

Checks the settings, then serves the page, in this process: it gets the container's signals.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from imgserve.errors import InvalidSetting
from imgserve.machine import temporary_folder
from imgserve.settings import FrontendSettings

USAGE = "usage: python -m imgserve.frontend FRONTEND/app.py"
CANNOT_START = 2  # as a shell's word for wrong usage


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Serve the page until stopped, or say what is wrong; return the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        return _refused(f"{USAGE}; {' '.join(arguments) or 'nothing'} is no such file")
    try:
        settings = FrontendSettings.from_environ(environ)
    except InvalidSetting as exc:
        return _refused(f"imgserve cannot start: {exc}")
    tempfile.tempdir = str(temporary_folder())  # where Streamlit puts uploads of over 1 MB
    from imgserve.frontend.server import serve  # Streamlit takes a second, a wrong setting none

    serve(arguments[0], settings)
    return 0


def _refused(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
