"""A service for tests of what starts and stops services: answers 200 on every path."""

import argparse
import http.server
import json
import signal
import subprocess
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Answer, and log it as the services do."""
        asked = {"userAgent": self.headers["User-Agent"]}
        entry = {"severity": "INFO", "message": "asked", "httpRequest": asked}
        print(json.dumps(entry), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Start a child process, then serve, as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-s", type=float, default=0)
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--exit", type=int, help="end with this status instead of serving")
    given = parser.parse_args()
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
