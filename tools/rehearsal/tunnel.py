"""How the server reads requests: as a proxy does, also for https addresses.

gcloud reads a build's log from ``https://storage.googleapis.com`` whatever it is told, so the
server is that host too, with a certificate that only the rehearsal's gcloud trusts.
"""

import ssl
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler

from tools.rehearsal.keys import certificate


def handler(folder: Path) -> type[WSGIRequestHandler]:
    """Return what handles the server's connections."""
    pem, key = certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)

    class Handler(_Proxy):
        tls = context

    return Handler


class _Proxy(WSGIRequestHandler):
    tls: ssl.SSLContext

    def do_CONNECT(self) -> None:  # noqa: N802 (the name that http.server looks for)
        """Answer what comes through the tunnel in place of the host it was meant for."""
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.handle_one_request()
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: the lines that matter are those of requests nobody knows."""
