"""gunicorn's worker class for a backend.

What it needs is imported when it runs: gunicorn imports this module before it imports the
application, which begins to load the model.
"""

import os
from contextlib import suppress

from gunicorn.workers.base import Worker

from imgserve.machine import give_back_large_blocks

TICK_S = 0.25
FROZEN_S = 2.0  # a tick that comes so late


class EventLoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves one application until SIGTERM, then finishes what it has begun."""

    def run(self) -> None:
        """Serve."""
        import asyncio

        give_back_large_blocks()
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        import asyncio
        import signal

        from imgserve.backend.server import Server

        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        server = Server(self.wsgi, self.cfg.threads)
        listeners = [await server.listen(one.sock, self.cfg.backlog) for one in self.sockets]
        ticked_s = asyncio.get_running_loop().time()
        while self.alive and not stop.is_set() and self.ppid == os.getppid():
            now_s = asyncio.get_running_loop().time()
            if now_s - ticked_s > FROZEN_S:  # as an idle container is on Cloud Run
                server.postpone(now_s - ticked_s)
            ticked_s = now_s
            server.sweep()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_S)
        await asyncio.sleep(TICK_S / 5)  # those who have connected already are accepted
        for listener in listeners:
            listener.close()
        await server.drain(self.cfg.graceful_timeout)
