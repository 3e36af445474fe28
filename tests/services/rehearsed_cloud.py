"""The rehearsal's stand-ins for Google Cloud, in which processes stand for containers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.process import Process, free_port
from tools.rehearsal.cloud_run import container_of
from tools.rehearsal.cloudbuild import Builder
from tools.rehearsal.rehearsal import clean_environ, cloud, gcloud_environ
from tools.rehearsal.web import Json, Store

# Says which image it is and what arrived. One of a broken image ends at once; one whose tag begins
# with "broken" fails where others predict.
SERVER = """
import http.server, sys
image = sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = f'Hello! "category": {image} {self.path} {len(body)}\\n{self.headers}'.encode()
        self.send_response(500 if self.path == "/predict" and ":broken" in image else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    do_POST = do_GET
if image == "broken": sys.exit("it is broken")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class RehearsedCloud:
    folder: Path
    store: Store
    port: int
    instances: list[Process] = field(default_factory=list)  # all that were started

    def launch(self, revision: Json, port: int) -> Process:
        command = [sys.executable, "-c", SERVER, str(port), container_of(revision)["image"]]
        self.instances.append(Process(command, self.folder / "run" / f"{port}.log", {}))
        return self.instances[-1]

    def environ(self) -> dict[str, str]:
        """Return what gcloud and the scripts are to see."""
        own = {"PROJECT_ID": self.store.project, "PAUSE_S": "1"}
        return clean_environ() | gcloud_environ(self.folder / "gcloud", self.port, self.store) | own


@contextmanager
def rehearsed_cloud(folder: Path, store: Store) -> Iterator[RehearsedCloud]:
    """Have the stand-ins answer until the end of the block."""
    made = RehearsedCloud(folder, store, free_port())
    builder = Builder(folder / "builds", store, clean_environ(), "a-registry")
    with cloud(folder, made.port, store, builder, made.launch):
        yield made
