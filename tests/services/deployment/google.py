"""The real gcloud, led to a loopback server that answers for Google and changes nothing."""

import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Names of gcloud's settings, https://cloud.google.com/sdk/gcloud/reference/topic/configurations
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam"),
    *("logging", "run", "secretmanager", "serviceusage", "storage"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT")
KNATIVE = {"apiVersion": "serving.knative.dev/v1"}
SERVICE = {
    **KNATIVE,
    "kind": "Service",
    "metadata": {"name": "one", "namespace": "p", "generation": 1},
    "spec": {"template": {"metadata": {}, "spec": {"containers": [{"image": "an-image"}]}}},
    "status": {"traffic": [{"revisionName": "one-1", "percent": 100}]},
}
# What requests are answered with, by the first pattern that fits; everything else is not there.
# Lists have an item, as gcloud reads its own expressions only for one.
ANSWERS: dict[str, dict[str, Any]] = {
    r"GET http://serviceusage\.test/": {"state": "ENABLED"},
    r"GET http://cloudbuild\.test/.*/builds/": {"id": "build-1", "steps": [{"id": "pull"}]},
    r"GET http://run\.test/.*:getIamPolicy": {"bindings": [{"role": "r", "members": ["allUsers"]}]},
    r"GET http://[\w-]+-run\.test/.*/(services|revisions)\?": {
        **KNATIVE,
        "metadata": {},
        "items": [SERVICE],
    },
    r"GET http://[\w-]+-run\.test/apis/.*/services/[\w-]+\?": SERVICE,
}
NOT_FOUND = {"error": {"code": 404, "message": "nothing is there", "status": "NOT_FOUND"}}


def gcloud_environ(folder: Path) -> dict[str, str]:
    """Return all the variables that gcloud gets: signed in as nobody, it keeps to a folder."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }


@dataclass(frozen=True)
class Google:
    """What was asked, and how gcloud is led here."""

    port: int
    requests: list[str] = field(default_factory=list)

    def environ(self, folder: Path) -> dict[str, str]:
        """Return all the variables that gcloud gets."""
        return {
            **gcloud_environ(folder),
            **{
                f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/"
                for api in APIS
            },
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(self.port),
        }


@contextmanager
def google() -> Iterator[Google]:
    """Answer as Google does, until the end of the block."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            requests.append(request := f"{self.command} {self.path}")
            body = next((body for what, body in ANSWERS.items() if re.match(what, request)), None)
            content = json.dumps(body or NOT_FOUND).encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler.answer)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Google(server.server_port, requests)
        server.shutdown()
