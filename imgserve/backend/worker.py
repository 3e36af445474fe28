"""gunicorn's worker class for a backend.

What it needs is imported when it runs: gunicorn imports this module before it imports the
application, which begins to load the model.
"""

from gunicorn.workers.base import Worker

from imgserve.machine import give_back_large_blocks


class EventLoopWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves one application until SIGTERM, then finishes what it has begun."""

    def run(self) -> None:
        """Serve."""
        import asyncio

        from imgserve.backend.server import serve

        give_back_large_blocks()
        asyncio.run(serve(self))
