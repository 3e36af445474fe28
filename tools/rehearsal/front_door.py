"""The addresses of services: each service and each tag has a port where nginx listens."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from tools.rehearsal.host import LOOPBACK, find, free_ports, listens, running

CONFIGURATION = Template(Path(__file__).with_suffix(".conf").read_text("utf-8"))
COUNT = 64  # of ports: v3 with all its models takes 13, and as many again for each tag


class Addresses:
    """Which port is whose, of those where nginx listens; each is given away once."""

    def __init__(self, ports: list[int]) -> None:
        self._lock = threading.Lock()
        self._free = list(ports)
        self._owners: dict[int, tuple[str, str]] = {}

    def url(self, service: str, tag: str = "") -> str:
        """Return the address of a service or of one of its tags, which stays the same."""
        with self._lock:
            known = {owner: port for port, owner in self._owners.items()}
            port = known.get((service, tag)) or self._free.pop()
            self._owners[port] = service, tag
        return f"http://{LOOPBACK}:{port}"

    def owner(self, port: int) -> tuple[str, str]:
        """Return the service and the tag whose port this is; empty ones for nobody's."""
        with self._lock:
            return self._owners.get(port, ("", ""))


@contextmanager
def front_door(folder: Path, cloud_port: int) -> Iterator[Addresses]:
    """Have nginx, which may write into a folder, listen until the end of the block.

    It asks the stand-ins, which answer at ``cloud_port``, about each request.
    """
    ports = free_ports(COUNT)
    config = folder / "nginx.conf"
    folder.mkdir()
    listen = "\n    ".join(f"listen {LOOPBACK}:{port};" for port in ports)
    values = {"folder": folder, "listen": listen, "cloud": cloud_port}
    config.write_text(CONFIGURATION.substitute(values), "utf-8")
    command = [find("nginx") or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]
    with running(command, folder / "nginx.log", lambda: listens(ports[-1])):
        yield Addresses(ports)
