"""What this machine's pip is told, carried over into an image."""

import ast
import configparser
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.rehearsal.host.ports import LOOPBACK, free_port, listens
from tools.rehearsal.host.process import Process

CARRIED = ("index-url", "extra-index-url", "find-links", "trusted-host", "timeout", "retries")
START_S = 30
STOP_S = 5


def pip_settings() -> dict[str, str]:
    """Return the options that pip takes from its files and from PIP_* here."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parsed(done.stdout)


def parsed(text: str) -> dict[str, str]:
    """Return the options in what `pip config list` prints; the environment's win."""
    found: dict[str, str] = {}
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line]
    for key, _, value in sorted(pairs, key=lambda pair: pair[0].startswith(":env:")):
        section, _, option = key.rpartition(".")
        if section in {"global", "install", ":env:"}:
            found[option.replace("default-timeout", "timeout")] = str(ast.literal_eval(value))
    return found


@contextmanager
def carried(settings: Mapping[str, str], certificates: str, logs: Path) -> Iterator[str]:
    """Yield a pip.conf that works in a container on this machine's network.

    Folders of find-links are served to it until the end of the block. Indexes on disk are left
    out: their files may be anywhere.

    Args:
        settings: what pip is told here.
        certificates: where the image has its certificates.
        logs: a folder.
    """
    kept = {name: settings[name].split() for name in CARRIED if name in settings}
    with ExitStack() as stack:
        for name, words in kept.items():
            if name == "find-links":
                kept[name] = [stack.enter_context(_served(word, logs)) for word in words]
            kept[name] = [word for word in kept[name] if word and not word.startswith("file:")]
        yield _written({"cert": [certificates], **kept})


@contextmanager
def _served(place: str, logs: Path) -> Iterator[str]:
    """Yield an address of a place of find-links; nothing where it is not there."""
    if urlsplit(place).scheme in {"http", "https"}:
        yield place
        return
    folder = Path(unquote(urlsplit(place).path) if place.startswith("file:") else place)
    if not folder.expanduser().is_dir():
        yield ""
        return
    port = free_port()
    where = ["--bind", LOOPBACK, "--directory", str(folder.expanduser())]
    command = [sys.executable, "-m", "http.server", *where, str(port)]
    process = Process(command, logs / "find-links.log")
    try:
        process.wait_until(lambda: listens(port), START_S)
        yield f"http://{LOOPBACK}:{port}/"
    finally:
        process.stop(STOP_S)


def _written(options: Mapping[str, list[str]]) -> str:
    parser = configparser.RawConfigParser()
    parser["global"] = {name: " ".join(words) for name, words in options.items() if words}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()
