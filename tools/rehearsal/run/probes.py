"""Probes: asking a container whether it has started, and whether it still lives.

https://cloud.google.com/run/docs/configuring/healthchecks
"""

import http.client
import socket
from dataclasses import dataclass
from typing import Self

from tools.rehearsal.run.defaults import STARTUP
from tools.rehearsal.store import Document

QUICK_PERIOD_S = 0.5
SUCCESS = range(200, 400)


@dataclass(frozen=True)
class Probe:
    """One question, how often it is asked, and how many bad answers in a row are a failure."""

    path: str
    port: int
    initial_delay_s: float
    timeout_s: float
    period_s: float
    failures: int
    is_default: bool = False

    @classmethod
    def of(cls, document: Document, spec_port: int, port: int) -> Self:
        """Return the probe that a spec asks for.

        Args:
            document: the spec's probe, completed.
            spec_port: the container's port in the spec.
            port: the one that it was given here.
        """
        http_get = document.get("httpGet")
        asked = (http_get or document.get("tcpSocket") or document.get("grpc") or {}).get("port")
        return cls(
            path=http_get["path"] if http_get else "",
            port=port if asked in {None, spec_port} else asked,
            initial_delay_s=document["initialDelaySeconds"],
            timeout_s=document["timeoutSeconds"],
            period_s=document["periodSeconds"],
            failures=document["failureThreshold"],
            is_default=not http_get and all(document[k] == v for k, v in STARTUP.items()),
        )

    @property
    def waits_s(self) -> float:
        """Return how long to wait between two questions.

        Cloud Run's own probe is one attempt of 240 s; on loopback a closed port refuses at once,
        so the same time is spent on short attempts.
        """
        return QUICK_PERIOD_S if self.is_default else self.period_s

    @property
    def allows(self) -> int:
        """Return how many bad answers in a row are a failure."""
        return round(self.timeout_s / QUICK_PERIOD_S) if self.is_default else self.failures

    def ask(self) -> str:
        """Return what is wrong, nothing where all is well."""
        try:
            if self.path:
                return self._get()
            socket.create_connection(("127.0.0.1", self.port), self.timeout_s).close()
        except (OSError, http.client.HTTPException) as exc:
            return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
        return ""

    def _get(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            connection.request("GET", self.path, headers={"User-Agent": "GoogleHC/1.0"})
            status = connection.getresponse().status
        finally:
            connection.close()
        return "" if status in SUCCESS else f"status {status}"

    def __str__(self) -> str:
        return f'HTTP probe of path "{self.path}"' if self.path else "TCP probe"
