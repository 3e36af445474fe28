"""A loopback proxy that answers for Google: one service runs, and nothing can be changed."""

import http.server
import json
import re
import threading
from pathlib import Path
from typing import Any, Self

# Names of gcloud's settings, https://cloud.google.com/sdk/gcloud/reference/topic/configurations
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam"),
    *("logging", "run", "secretmanager", "serviceusage", "storage"),
)
POLICY = {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}], "etag": "BwY="}
BUILD = {"id": "build-1", "status": "WORKING", "steps": [{"id": "pull", "status": "SUCCESS"}]}
NOT_FOUND = {"error": {"code": 404, "message": "nothing is there", "status": "NOT_FOUND"}}


def service(name: str) -> dict[str, Any]:
    """Return a Cloud Run service, as its API has it."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "p", "generation": 1},
        "spec": {
            "template": {"metadata": {}, "spec": {"containers": [{"image": "an-image"}]}},
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
        "status": {"traffic": [{"revisionName": f"{name}-1", "percent": 100}]},
    }


def body_for(request: str) -> dict[str, Any] | None:
    """Return what a request is answered with; None for what is not there."""
    if request.startswith("GET http://serviceusage.test/v1/projects/"):
        return {"state": "ENABLED"}
    if re.match(r"GET http://cloudbuild\.test/.*/builds/", request):
        return BUILD
    if re.match(r"GET http://run\.test/.*:getIamPolicy", request):
        return POLICY
    if re.match(r"GET http://[\w-]+-run\.test/.*/(services|revisions)\?", request):
        # With an item, as gcloud reads its own expressions only for one.
        return {"apiVersion": "serving.knative.dev/v1", "metadata": {}, "items": [service("one")]}
    one = re.match(r"GET http://[\w-]+-run\.test/apis/.*/services/([\w-]+)\?", request)
    return service(one[1]) if one else None


class Google:
    """Answers every request of a gcloud command that is told of it."""

    def __init__(self) -> None:
        google = self
        self.requests: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                google.answer(self, f"{self.command} {self.path}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "CONNECT"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler, request: str) -> None:
        """Write down a request and answer it."""
        self.requests.append(request)
        body = body_for(request)
        content = json.dumps(body or NOT_FOUND).encode()
        handler.send_response(200 if body else 404)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def environ(self, folder: Path) -> dict[str, str]:
        """Return the variables that lead gcloud here, signed in as nobody."""
        endpoints = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/" for api in APIS
        }
        return {
            **endpoints,
            "CLOUDSDK_CONFIG": str(folder),
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(self._server.server_port),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
