"""What the views of one server share, reached through the current app."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import current_app

from tools.rehearsal.store import Store

if TYPE_CHECKING:
    from tools.rehearsal.builds.runner import Runner

NAME = "rehearsal"


@dataclass(frozen=True)
class State:
    """The server's memory, its folder, its environment and its build workers."""

    folder: Path
    store: Store
    environ: Mapping[str, str]
    runner: "Runner"


def state() -> State:
    """Return the state of the server that answers this request."""
    found: State = current_app.extensions[NAME]
    return found


def store() -> Store:
    """Return the documents of the server that answers this request."""
    return state().store
