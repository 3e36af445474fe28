"""Cloud Run on one machine: brings containers and addresses in line with the documents.

`settle` is the whole of it: it reads what a service wants, starts what is missing, sends the
traffic where it should go once containers answer there, and stops what nobody needs. It is called
after every change: of a service by gcloud, of a container by its keeper.
"""

import logging
import threading
from collections.abc import Mapping
from functools import partial

from tools.rehearsal.run import revisions, services, traffic
from tools.rehearsal.run.conditions import FALSE, GOOD, TRUE, UNKNOWN, Verdict, worst
from tools.rehearsal.run.docker import Docker
from tools.rehearsal.run.history import conclude, note
from tools.rehearsal.run.inside import Inside
from tools.rehearsal.run.keeper import Keeper, World
from tools.rehearsal.run.keepers import Keepers
from tools.rehearsal.run.nginx import Nginx, NginxFailed
from tools.rehearsal.run.place import Place, name_of
from tools.rehearsal.run.ports import Ports
from tools.rehearsal.run.router import Router
from tools.rehearsal.run.stop import router_folder
from tools.rehearsal.run.trouble import Trouble
from tools.rehearsal.store import Document, Store

LOG = logging.getLogger(__name__)


class CloudRun:
    """Services, their revisions' containers, and the router before them.

    Attributes:
        store: the documents.
        lock: hold it to read a service, decide and write.
    """

    def __init__(self, store: Store, environ: Mapping[str, str]) -> None:
        self.store = store
        self.lock = threading.RLock()
        root = store.folder.parent.resolve()
        nginx_folder = router_folder(root)
        ports = Ports(store)
        self._router = Router(store, ports, Nginx(nginx_folder, environ), nginx_folder)
        self._keepers = Keepers(
            World(
                docker=Docker(environ, root),
                store=store,
                ports=ports,
                environ=environ,
                logs=root / "run" / "logs",
                metadata_port=self._router.metadata_port,
                changed=self._changed,
            )
        )
        self._inside: Inside | None = None

    def start(self) -> None:
        """Go on where an earlier process stopped: adopt its containers, start missing ones."""
        with self.lock:
            keys = self.store.names(services.KIND)
            if not keys:
                return
            self._keepers.find()
            for key in keys:  # all of them before the router is told, or it would close doors
                place = Place.of(key)
                service = services.existing(self.store, place, name_of(key))
                self._begin(key, service, revisions.of_service(self.store, place, name_of(key)))
            for key in keys:
                self.settle(key)
            self._keepers.remove_unclaimed()

    def close(self) -> None:
        """Stop watching; containers and router go on."""
        self._keepers.leave()
        if self._inside:
            self._inside.close()

    def url(self, key: str) -> str:
        """Return a service's address."""
        return self._router.url(key)

    def settle(self, key: str) -> None:
        """Bring one service's containers and addresses in line with its document."""
        with self.lock:
            service = self.store.get(services.KIND, key)
            known = revisions.of_service(self.store, Place.of(key), name_of(key))
            if service is not None:
                self._serve(key, service, known)
            else:
                self._route()
            self._retire(key, service, known)

    def _serve(self, key: str, service: Document, known: dict[str, Document]) -> None:
        status = service["status"]
        wanted = self._begin(key, service, known)
        routed = self._routed(key, service, wanted, known)
        if routed.status == TRUE:
            status["traffic"] = [each.document(self._router.url(key, each.tag)) for each in wanted]
        status["url"] = self._router.url(key)
        status["address"] = {"url": status["url"]}
        self.store.put(services.KIND, key, service)
        conclude(service, known, worst([routed, self._route()]))
        self.store.put(services.KIND, key, service)

    def _begin(
        self, key: str, service: Document, known: dict[str, Document]
    ) -> list[traffic.Target]:
        """Have containers for all that a service needs; return where its traffic should go."""
        status, place = service["status"], Place.of(key)
        created = status["latestCreatedRevisionName"]
        if Verdict.of(known.get(created)).status == TRUE:
            status["latestReadyRevisionName"] = created
        wanted = traffic.targets(service, status.get("latestReadyRevisionName") or created)
        needed = traffic.needed(wanted, service, known)
        self._keepers.start(place, {name: known[name] for name in needed})
        return wanted

    def _routed(
        self,
        key: str,
        service: Document,
        wanted: list[traffic.Target],
        known: dict[str, Document],
    ) -> Verdict:
        """Return whether traffic can go where it should, or goes there already."""
        newest = Verdict.of(known.get(service["status"]["latestCreatedRevisionName"]))
        if newest.status == UNKNOWN and any(each.latest for each in wanted):
            return newest
        if wanted == traffic.served(service):
            return GOOD  # a container that is started again changes nothing about that
        place = Place.of(key)
        keepers = {name: self._keepers.get(place.key(name)) for name in known}
        up = {name for name, keeper in keepers.items() if keeper and keeper.up}
        failures = {
            name: keeper.trouble.verdict(known[name]).message
            for name, keeper in keepers.items()
            if keeper and keeper.trouble
        }
        return traffic.verdict(wanted, known, up, failures)

    def _route(self) -> Verdict:
        """Tell the router; return whether it follows."""
        try:
            if self._inside is None:
                port = self._router.inside_port()
                self._inside = Inside(self.store, port, self._router.urls)
            self._router.apply(self._port_of)
        except NginxFailed as exc:
            LOG.error("the router: %s", exc)
            return Verdict(FALSE, "RouterFailed", f"The rehearsal's router failed: {exc}")
        return GOOD

    def _retire(self, key: str, service: Document | None, known: dict[str, Document]) -> None:
        """Stop the containers that a service does not need any more."""
        place, needed = Place.of(key), set[str]()
        if service is not None:
            latest = service["status"].get("latestReadyRevisionName", "")
            needed = traffic.needed(traffic.targets(service, latest), service, known)
        ours = {
            key
            for key in self._keepers.keys()  # noqa: SIM118  not a mapping
            if place.holds(key) and (name_of(key) in known or not self._exists(key))
        }
        self._keepers.stop({key for key in ours if name_of(key) not in needed})
        for name in known:
            activate = partial(revisions.activate, active=name in needed)
            self.store.update(revisions.KIND, place.key(name), activate)

    def _exists(self, key: str) -> bool:
        return self.store.get(revisions.KIND, key) is not None

    def _port_of(self, key: str) -> int | None:
        keeper = self._keepers.get(key)
        return keeper.port if keeper else None

    def _changed(self, keeper: Keeper, trouble: Trouble | None) -> None:
        """Note what became of a container; its keeper calls this."""
        with self.lock:
            if self._keepers.get(keeper.key) is not keeper:
                return  # it was told to stop in the meantime
            document = self.store.update(
                revisions.KIND, keeper.key, lambda each: note(each, keeper, trouble)
            )
            if document is not None:
                service = document["metadata"]["labels"][revisions.SERVICE_LABEL]
                self.settle(Place.of(keeper.key).key(service))
