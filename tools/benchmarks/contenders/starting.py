"""Ways in which a model comes to a container that starts."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from imgserve.models import compiled_model as artefact
from imgserve.models import loading
from tools.benchmarks import models
from tools.benchmarks.contenders.contender import Contender
from tools.benchmarks.contenders.ours import v1
from tools.benchmarks.contenders.peers import original
from tools.benchmarks.fetching.job import Job
from tools.benchmarks.places import WEIGHTS
from tools.benchmarks.plan import EMBEDDED
from tools.benchmarks.processes.child import LOOPBACK

IMAGE, COPIED = "in the image", "copied at start"
COMPILED, ORIGINAL = "downloaded and compiled at start", "original: downloaded at start"
MB = 1e6


@dataclass(frozen=True)
class Place:
    """Where a start finds nothing, and where it gets things from.

    Attributes:
        folder: an empty one, which becomes ``WEIGHTS_DIR``.
        port: of a host that has what is below the benchmark's own ``WEIGHTS_DIR``.
    """

    folder: Path
    port: int

    @property
    def host(self) -> str:
        """Return the address of the host."""
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Start:
    """A server, and what it fetches before it is one.

    Attributes:
        files: below ``WEIGHTS_DIR``, here as there.
    """

    contender: Contender
    files: tuple[str, ...] = ()

    @property
    def megabytes(self) -> float:
        """Return how much comes over the network."""
        return sum((WEIGHTS / file).stat().st_size for file in self.files) / MB


def start(way: str, model: str, place: Place) -> Start:
    """Return how a model comes to a server in one of the ways."""
    return STARTS[way](model, place)


def _in_the_image(model: str, _: Place) -> Start:
    return Start(v1(model))


def _copied(model: str, place: Place) -> Start:
    """Return a start that copies the compiled model's files, as from a bucket."""
    info = artefact.parse_info(loading.compiled_folder(models.settings("fp32")), model)
    names = (info.graph.name, info.weights.name, f"{artefact.stem(model, 'fp32')}.json")
    files = tuple(f"compiled/{name}" for name in names)
    return _after_fetching(v1(model, WEIGHTS_DIR=str(place.folder)), place, files)


def _compiled(model: str, place: Place) -> Start:
    """Return a start that compiles the model; weights that are no package are fetched first."""
    given = {"WEIGHTS_DIR": str(place.folder), "WEIGHTS_URL_BASE": place.host}
    if model in EMBEDDED:
        return Start(v1(model, **given))
    out, keep = str(place.folder / "compiled"), str(place.folder / "random")
    compile_it = (sys.executable, "-m", "tools.benchmarks.random_weights", model)
    command = [*compile_it, "--out", out, "--keep", keep]
    return _after_fetching(v1(model, **given), place, (f"random/{model}.pth",), command)


def _original(model: str, place: Place) -> Start:
    """Return the original's design; weights that are no package are fetched first."""
    theirs = original(model, "eager")
    (server,) = theirs.programs

    def environ(ports: Mapping[str, int]) -> dict[str, str]:
        return {**server.environ(ports), "WEIGHTS_DIR": str(place.folder)}

    moved = replace(theirs, programs=(replace(server, environ=environ),))
    if model in EMBEDDED:
        return Start(moved)
    return _after_fetching(moved, place, (f"random/{model}.pth",))


def _after_fetching(
    contender: Contender, place: Place, files: tuple[str, ...], *first: list[str]
) -> Start:
    """Return a start of a contender that first fetches files and runs commands."""
    (server,) = contender.programs
    fetched = {str(place.folder / file): f"{place.host}/{file}" for file in files}
    job = msgspec.json.encode(Job(fetched, [*first, [*server.command]])).decode()
    command = (sys.executable, "-m", "tools.benchmarks.fetching", job)
    return Start(replace(contender, programs=(replace(server, command=command),)), files)


STARTS = {IMAGE: _in_the_image, COPIED: _copied, COMPILED: _compiled, ORIGINAL: _original}
