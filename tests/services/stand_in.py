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
    """Answers every GET as a backend does, and logs it likewise."""

    absent = ""
    loads_for_s = 0.0

    def do_GET(self) -> None:
        request = {"userAgent": self.headers["User-Agent"]}
        print(json.dumps({"severity": "INFO", "message": "GET", "httpRequest": request}))
        loading = time.monotonic() < STARTED + self.loads_for_s
        slug = "not-ready" if loading else "model-unavailable" if self.absent else ""
        self.send_response(503 if slug else 200)
        self.end_headers()
        problem = {"type": f"urn:imgserve:problem:{slug}", "title": "No model", "status": 503}
        body = {**problem, "detail": self.absent, "request_id": "1"} if slug else {}
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Write no other log."""


def main() -> None:
    """Start a child process, then serve, as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-s", type=float, default=0)
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--exit", type=int, help="end with this status instead of serving")
    parser.add_argument("--absent", default="", help="why the model cannot be loaded")
    parser.add_argument("--loads-for-s", type=float, default=0)
    given = parser.parse_args()
    Handler.absent, Handler.loads_for_s = given.absent, given.loads_for_s
    if given.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its child inherits that
    print(f"child {subprocess.Popen(['sleep', '600']).pid}")
    time.sleep(given.delay_s)
    if given.exit is not None:
        print("last words")
        sys.exit(given.exit)
    http.server.HTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
