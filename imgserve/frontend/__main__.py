"""Start a frontend as a container does: ``python -m imgserve.frontend frontend_v1/app.py``.

Checks the settings, then becomes Streamlit, which so gets the container's signals itself.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from imgserve.errors import InvalidSetting
from imgserve.machine import temporary_folder
from imgserve.settings import FrontendSettings

USAGE = "usage: python -m imgserve.frontend FRONTEND/app.py"
CANNOT_START = 2  # as a shell's word for wrong usage


def command(app: str, settings: FrontendSettings) -> list[str]:
    """Return what serves this page; the folder's ``.streamlit`` has the other options."""
    listen = ("--server.address", settings.host, "--server.port", str(settings.port))
    return [sys.executable, "-m", "streamlit", "run", app, *listen]


def main(arguments: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Become Streamlit; or say on standard error what is wrong, and exit."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        _end(f"{USAGE}; {' '.join(arguments) or 'nothing'} is no such file")
    try:
        settings = FrontendSettings.from_environ(environ)
    except InvalidSetting as exc:
        _end(f"imgserve cannot start: {exc}")
    words = command(arguments[0], settings)
    # Streamlit puts uploads of over 1 MB there.
    os.execve(words[0], words, {**environ, "TMPDIR": str(temporary_folder())})


def _end(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
