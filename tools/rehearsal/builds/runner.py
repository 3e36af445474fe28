"""The queue of builds: one worker takes them in turn, and what was lost is found as failed."""

import logging
import queue
import threading
from collections.abc import Mapping
from pathlib import Path

from tools.rehearsal.answers import Json
from tools.rehearsal.builds.build import run_build
from tools.rehearsal.builds.machine import Machine
from tools.rehearsal.builds.record import KIND, UNDER_WAY, Record
from tools.rehearsal.builds.steps import Halt
from tools.rehearsal.store import Store

logger = logging.getLogger(__name__)

STOP_S = 20  # for the build under way, when the server stops


class Runner:
    """Runs builds one after the other, since each expects a machine of its own."""

    def __init__(self, folder: Path, store: Store, environ: Mapping[str, str]) -> None:
        self.machine = Machine(folder, environ)
        self.store = store
        self.machine.prepare()
        self._queue: queue.Queue[Json | None] = queue.Queue()
        self._halts: dict[str, Halt] = {}
        self._find_lost()
        self._worker = threading.Thread(target=self._work, name="builds", daemon=True)
        self._worker.start()

    def submit(self, build: Json) -> None:
        """Put a build into the queue; its document is in the store already.

        Args:
            build: its resource, with its substitutions made.
        """
        self.machine.build_folder(build["id"]).mkdir(parents=True)
        self._halts[build["id"]] = Halt()
        self._queue.put(build)

    def cancel(self, build: str) -> None:
        """End a build, at once if it waits and within seconds if it runs."""
        halt = self._halts.get(build)
        if halt is not None:
            halt.order("CANCELLED", "build was cancelled")
        Record(self.store, build).cancelled_in_queue()

    def stop(self) -> None:
        """End the build under way and take no other."""
        for halt in self._halts.values():
            halt.order("INTERNAL_ERROR", "the rehearsal's server was stopped")
        self._queue.put(None)
        self._worker.join(STOP_S)

    def _work(self) -> None:
        while (build := self._queue.get()) is not None:
            record = Record(self.store, build["id"])
            if record.read().get("status") != "QUEUED":
                continue
            try:
                run_build(build, self.machine, record, self._halts[build["id"]])
            except Exception:
                logger.exception("Build %s broke the rehearsal's runner.", build["id"])
                record.ended("INTERNAL_ERROR", "the rehearsal's runner failed; see its log")
            self._halts.pop(build["id"], None)

    def _find_lost(self) -> None:
        for name in self.store.names(KIND):
            record = Record(self.store, name)
            if record.read().get("status") in UNDER_WAY:
                record.ended("INTERNAL_ERROR", "the rehearsal's server stopped during the build")
