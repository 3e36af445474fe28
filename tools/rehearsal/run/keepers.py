"""The keepers of all revisions: which there are, which are missing, which are not needed."""

import logging
from collections.abc import Collection, Mapping

from tools.rehearsal.run.docker import Docker, DockerFailed, Found
from tools.rehearsal.run.keeper import Keeper, World
from tools.rehearsal.run.place import Place
from tools.rehearsal.store import Document

LOG = logging.getLogger(__name__)

STOP_LIMIT_S = 30


class Keepers:
    """Keepers by the key of their revision. Not for several threads at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keepers: dict[str, Keeper] = {}
        self._retired: list[Keeper] = []
        self._found: dict[str, Found] = {}

    def find(self) -> None:
        """Look for containers from before a restart; those that ended are removed."""
        for found in _ours(self._world.docker):
            if found.runs and found.revision not in self._found:
                self._found[found.revision] = found
                self._world.ports.mark_lent(found.port)
            else:
                self._world.docker.remove(found.name)

    def start(self, place: Place, revisions: Mapping[str, Document]) -> None:
        """Have a keeper for each of these revisions."""
        for name, document in revisions.items():
            key = place.key(name)
            if key not in self._keepers:
                found = self._found.pop(key, None)
                self._keepers[key] = Keeper(self._world, key, document, found)

    def stop(self, keys: Collection[str]) -> None:
        """Let these containers end; they do so while the caller goes on."""
        for key in keys:
            if keeper := self._keepers.pop(key, None):
                keeper.stop()
                self._retired.append(keeper)
        self._retired = [each for each in self._retired if not each.is_done]

    def remove_unclaimed(self) -> None:
        """Remove the containers from before a restart that nothing needs any more."""
        for found in self._found.values():
            self._world.docker.stop(found.name)
        self._found.clear()

    def get(self, key: str) -> Keeper | None:
        """Return the keeper of a revision."""
        return self._keepers.get(key)

    def keys(self) -> set[str]:
        """Return the revisions that have a keeper."""
        return set(self._keepers)

    def leave(self) -> None:
        """Stop watching; the containers go on."""
        for keeper in self._keepers.values():
            keeper.stop(leave_running=True)
        for keeper in (*self._keepers.values(), *self._retired):
            keeper.join(STOP_LIMIT_S)


def _ours(docker: Docker) -> list[Found]:
    try:
        return docker.ours()
    except DockerFailed as exc:
        LOG.warning("containers from before cannot be found: %s", exc)
        return []
