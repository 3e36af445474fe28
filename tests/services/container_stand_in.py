"""What runs in the containers of `docker_stand_in.py`: says what it was given.

Variables make it misbehave: FAIL ends it at once, MUTE never listens, GREEDY ends as if by the
kernel. The path `/die` ends it; an `Upgrade` makes it repeat what it is sent.
"""

import json
import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers its own circumstances."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the environment and the request."""
        if self.path == "/die":
            os._exit(7)
        if self.headers.get("Upgrade"):
            self._repeat()
            return
        body = json.dumps({"env": dict(os.environ), "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _repeat(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "echo")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.write(self.rfile.readline())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"this is {os.environ['K_REVISION']}", flush=True)
    if "FAIL" in os.environ:
        sys.exit(int(os.environ["FAIL"]))
    if "GREEDY" in os.environ:
        sys.exit(137)
    if "MUTE" in os.environ:
        signal.pause()
    socketserver.TCPServer.allow_reuse_address = True
    address = (os.environ["HOST"], int(os.environ["PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    main()
