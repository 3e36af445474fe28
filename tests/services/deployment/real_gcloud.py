"""The real gcloud, which asks a server of this machine instead of Google."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.servers import Quiet, served
from tests.services.deployment.project import gcloud_environ

TIMEOUT_S = 120
# Names of gcloud's settings, https://cloud.google.com/sdk/gcloud/reference/topic/configurations
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam"),
    *("logging", "run", "secretmanager", "serviceusage", "storage"),
)
NOT_FOUND = {"error": {"code": 404, "message": "nothing is there", "status": "NOT_FOUND"}}


class Google:
    """A proxy that says of everything that it is not there, but for its answers.

    Attributes:
        port: where it listens.
        answers: by the end of the path that is asked for.
        sent: what it was told to keep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = ""
        self.answers: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []

    def run(
        self, line: list[str], stdin: str = "a secret", **environ: str
    ) -> CompletedProcess[str]:
        """Return how a command ends whose gcloud asks this proxy."""
        hosts = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/" for api in APIS
        }
        proxy = {"TYPE": "http", "ADDRESS": "127.0.0.1", "PORT": self.port}
        proxied = {f"CLOUDSDK_PROXY_{name}": value for name, value in proxy.items()}
        return subprocess.run(
            line,
            check=False,
            env={**gcloud_environ(self.folder), **hosts, **proxied, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    """Return what the real gcloud asks, and by which it is run."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    google = Google(tmp_path)

    class Handler(Quiet):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body.startswith(b"{"):
                google.sent.append(json.loads(body))
            found = google.answers.get(self.path.partition("?")[0].rpartition("/")[2])
            answer = json.dumps(found or NOT_FOUND).encode()
            self.answer(200 if found else 404, answer, Content_Type="application/json")

        do_PUT = do_PATCH = do_DELETE = Quiet.do_GET  # noqa: N815  http.server's names

    with served(Handler) as address:
        google.port = address.rpartition(":")[2]
        yield google
