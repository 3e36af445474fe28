"""The programs that a rehearsal needs, and which of them are not installed."""

import os
import shutil
from collections.abc import Mapping

# Daemons are not on everybody's PATH.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Any of these names, and where to get it.
NEEDS: dict[tuple[str, ...], str] = {
    ("docker",): "the package docker.io of Debian and Ubuntu, or docs.docker.com/engine/install",
    ("gcloud",): "the Google Cloud CLI, cloud.google.com/sdk/docs/install (it is not in Debian)",
    ("nginx",): "the package nginx",
    ("git",): "the package git",
    ("curl",): "the package curl",
}
BROWSER: dict[tuple[str, ...], str] = {CHROMIUM: "the package chromium"}


def find(*names: str) -> str | None:
    """Return where the first of these programs is that is installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing(needs: Mapping[tuple[str, ...], str]) -> list[str]:
    """Return a sentence for each program that is not installed."""
    return [
        f"{names[0]} is missing: {source}" for names, source in needs.items() if not find(*names)
    ]
