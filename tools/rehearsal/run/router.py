"""The router: every service's and tag's address, and what nginx is told about them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.rehearsal.run import services
from tools.rehearsal.run.configuration import Door, Office, Share, configuration
from tools.rehearsal.run.gate import is_private
from tools.rehearsal.run.nginx import Nginx
from tools.rehearsal.run.place import Place
from tools.rehearsal.run.ports import Ports
from tools.rehearsal.run.revisions import KIND as REVISIONS
from tools.rehearsal.run.traffic import Target, served
from tools.rehearsal.store import Document, Store

AFFINITY = "run.googleapis.com/sessionAffinity"
OFFICE = "metadata/"  # its port's purpose begins so


class Router:
    """What leads from an address to a container."""

    def __init__(self, store: Store, ports: Ports, nginx: Nginx, folder: Path) -> None:
        self._store = store
        self._ports = ports
        self._nginx = nginx
        self._folder = folder
        self._last = ""

    def url(self, key: str, tag: str = "") -> str:
        """Return the address of a service or of one of its tags: always the same one."""
        purpose = f"{key}#{tag}" if tag else key
        return f"http://127.0.0.1:{self._ports.kept(purpose)}"

    def urls(self, key: str) -> list[str]:
        """Return every address of a service."""
        service = self._store.get(services.KIND, key)
        tags = [each.tag for each in served(service) if each.tag] if service else []
        return [self.url(key), *(self.url(key, tag) for tag in tags)]

    def inside_port(self) -> int:
        """Return the port of the server that nginx asks."""
        return self._ports.kept("inside")

    def metadata_port(self, revision: Document) -> int:
        """Return the port of the metadata server of a revision's account; open it if it is new."""
        metadata = revision["metadata"]
        region = metadata["labels"]["cloud.googleapis.com/location"]
        email = revision["spec"]["serviceAccountName"]
        return self._ports.kept(f"{OFFICE}{metadata['namespace']}/{region}/{email}")

    def apply(self, port_of: Callable[[str], int | None]) -> None:
        """Make nginx lead to the containers that there are now.

        Args:
            port_of: where the container of a revision (by its key) answers, or None.

        Raises:
            NginxFailed: it goes on with what it led to before.
        """
        doors = [
            door
            for key in self._store.names(services.KIND)
            if (service := self._store.get(services.KIND, key))
            for door in self._doors(key, service, port_of)
        ]
        version_port = self._ports.kept("nginx")
        text = configuration(self._folder, version_port, self.inside_port(), doors, self._offices())
        if text != self._last:
            self._nginx.apply(text, version_port)
            self._last = text

    def _doors(
        self, key: str, service: Document, port_of: Callable[[str], int | None]
    ) -> list[Door]:
        place, targets = Place.of(key), served(service)
        ports = {each.revision: port_of(place.key(each.revision)) for each in targets}
        main = _shares([each for each in targets if each.percent], ports)
        doors = [self._door(key, "", main, service)]
        for each in targets:
            if each.tag:
                port = ports[each.revision]
                whole = [Share(port, 100)] if port else []
                doors.append(self._door(key, each.tag, whole, service))
        return doors

    def _door(self, key: str, tag: str, shares: list[Share], service: Document) -> Door:
        template = service["spec"]["template"]
        annotations = template.get("metadata", {}).get("annotations") or {}
        return Door(
            name=key,
            port=int(self.url(key, tag).rpartition(":")[2]),
            shares=shares,
            private=is_private(self._store, key),
            sticky=annotations.get(AFFINITY, "").lower() == "true",
            timeout_s=template["spec"]["timeoutSeconds"],
        )

    def _offices(self) -> list[Office]:
        """Return the metadata servers of the accounts of all revisions."""
        keys = self._store.names(REVISIONS)
        documents = filter(None, (self._store.get(REVISIONS, key) for key in keys))
        ports = {self.metadata_port(each): _account(each) for each in documents}
        return [Office(port, path) for port, path in sorted(ports.items())]


def _account(revision: Document) -> str:
    metadata = revision["metadata"]
    region = metadata["labels"]["cloud.googleapis.com/location"]
    return f"{metadata['namespace']}/{region}/{revision['spec']['serviceAccountName']}"


def _shares(targets: list[Target], ports: Mapping[str, int | None]) -> list[Share]:
    """Return who gets how much; a revision that is named twice gets the sum."""
    sums: dict[int, int] = {}
    for each in targets:
        port = ports[each.revision]
        if port:
            sums[port] = sums.get(port, 0) + each.percent
    return [Share(port, percent) for port, percent in sums.items()]
