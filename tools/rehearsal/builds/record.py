"""What is known of a build: its resource, kept up to date while it runs."""

from collections.abc import Callable

from tools.rehearsal.answers import Json, now
from tools.rehearsal.store import Store

KIND = "builds"
UNDER_WAY = {"QUEUED", "WORKING"}


class Record:
    """One build's document."""

    def __init__(self, store: Store, build: str) -> None:
        self.store = store
        self.build = build

    def read(self) -> Json:
        """Return the build's resource."""
        return self.store.get(KIND, self.build) or {}

    def began(self) -> None:
        """Note that a worker has taken the build."""
        self._change(lambda build: build.update(status="WORKING", startTime=now()))

    def cancelled_in_queue(self) -> None:
        """Note that a build was cancelled before a worker took it."""

        def cancel(build: Json) -> None:
            if build["status"] == "QUEUED":
                build.update(status="CANCELLED", finishTime=now())

        self._change(cancel)

    def ended(self, status: str, detail: str = "", failure: str = "") -> None:
        """Note how the build ended.

        Args:
            status: SUCCESS, FAILURE, TIMEOUT, CANCELLED or INTERNAL_ERROR.
            detail: what went wrong, in words.
            failure: its kind in Google's list (Build.FailureInfo.FailureType).
        """

        def end(build: Json) -> None:
            build.update(status=status, finishTime=now())
            if detail:
                build["statusDetail"] = detail
            if failure:
                build["failureInfo"] = {"type": failure, "detail": detail}

        self._change(end)

    def phase(self, name: str, started: str) -> None:
        """Note that a phase (FETCHSOURCE, BUILD or PUSH) is over."""
        span = {"startTime": started, "endTime": now()}
        self._change(lambda build: build.setdefault("timing", {}).update({name: span}))

    def step_began(self, number: int) -> None:
        """Note that a step has begun."""

        def begin(build: Json) -> None:
            build["steps"][number].update(status="WORKING", timing={"startTime": now()})

        self._change(begin)

    def step_ended(self, number: int, status: str, exit_code: int | None = None) -> None:
        """Note how a step ended."""

        def end(build: Json) -> None:
            step = build["steps"][number]
            step["status"] = status
            step["timing"]["endTime"] = now()
            if exit_code:
                step["exitCode"] = exit_code

        self._change(end)

    def pushed(self, image: str, digest: str, started: str) -> None:
        """Note an image that is in the registry now."""
        made = {
            "name": image,
            "digest": digest,
            "pushTiming": {"startTime": started, "endTime": now()},
        }
        self._change(lambda build: build["results"].setdefault("images", []).append(made))

    def _change(self, change: Callable[[Json], None]) -> None:
        self.store.update(KIND, self.build, change)
