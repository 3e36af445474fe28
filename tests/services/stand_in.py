"""A service for tests of what starts and stops services: ready, loading, or without its model."""

import argparse
import http.server
import json
import signal
import subprocess
import sys
import time

STARTED = time.monotonic()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET."""

    absent = ""
    loads_for_s = 0.0

    def do_GET(self) -> None:
        """Answer, and log it as the services do."""
        asked = {"userAgent": self.headers["User-Agent"]}
        entry = {"severity": "INFO", "message": "asked", "httpRequest": asked}
        print(json.dumps(entry), flush=True)
        loading = time.monotonic() < STARTED + self.loads_for_s
        slug = "not-ready" if loading else "model-unavailable" if self.absent else ""
        self.send_response(503 if slug else 200)
        self.end_headers()
        words = {"title": "No model", "detail": self.absent, "request_id": "1"}
        problem = {"type": f"urn:imgserve:problem:{slug}", "status": 503, **words}
        self.wfile.write(json.dumps(problem if slug else {"status": "ready"}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Start a child process, then serve, as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-s", type=float, default=0)
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--exit", type=int, help="end with this status instead of serving")
    parser.add_argument("--absent", default="", help="why the model cannot be had")
    parser.add_argument("--loads-for-s", type=float, default=0)
    given = parser.parse_args()
    Handler.absent, Handler.loads_for_s = given.absent, given.loads_for_s
    if given.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A child inherits an ignored signal.
    child = subprocess.Popen(["sleep", "600"])
    print(f"child {child.pid}")
    time.sleep(given.delay_s)
    if given.exit is not None:
        print("last words")
        sys.exit(given.exit)
    http.server.HTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
