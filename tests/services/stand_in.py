"""A service for tests of what starts and stops services: ready, loading, or without its model.

Once it is ready, it answers with its name and what it was asked.
"""

import argparse
import http.server
import json
import signal
import subprocess
import sys
import time

from tests.servers import Quiet

STARTED = time.monotonic()


class Handler(Quiet):
    """Answers as a backend does, and logs it likewise."""

    given: argparse.Namespace

    def respond(self) -> None:
        size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        request = {"userAgent": self.headers["User-Agent"]}
        print(json.dumps({"severity": "INFO", "message": "GET", "httpRequest": request}))
        loading = time.monotonic() < STARTED + self.given.loads_for_s
        slug = "not-ready" if loading else "model-unavailable" if self.given.absent else ""
        problem = {"type": f"urn:imgserve:problem:{slug}", "title": "No model", "status": 503}
        body = json.dumps({**problem, "detail": self.given.absent, "request_id": "1"})
        asked = f"{self.given.name} {self.path} {size}\n{self.headers}"
        self.answer(503 if slug else 200, (body if slug else asked).encode())


def main() -> None:
    """Start a child process, then serve, as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--exit", type=int, help="end with this status instead of serving")
    parser.add_argument("--absent", default="", help="why the model cannot be loaded")
    parser.add_argument("--loads-for-s", type=float, default=0)
    Handler.given = given = parser.parse_args()
    if given.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its child inherits that
    print(f"child {subprocess.Popen(['sleep', '600']).pid}")
    if given.exit is not None:
        print("last words")
        sys.exit(given.exit)
    http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
