"""Make the gateway, or run it: ``python -m v3.gateway --help``."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from imgserve.errors import ImgserveError
from imgserve.machine import temporary_folder
from v3.gateway.google import api_document
from v3.gateway.nginx import configuration
from v3.gateway.serve import find_nginx, serve
from v3.gateway.settings import LIST, Backend, GatewaySettings, read_backends


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    given = _parser().parse_args(arguments)
    try:
        settings = GatewaySettings.from_environ(environ)
        backends = read_backends(LIST, settings.backends)
        if given.command == "serve":
            return _serve(settings, backends, environ)
        if given.command == "openapi":
            document = api_document(
                backends, settings.backend_timeout_s, private=given.private, api_key=given.api_key
            )
            text = json.dumps(document, indent=2)
        else:
            text = configuration(settings, backends, given.folder)
    except ImgserveError as exc:
        sys.stderr.write(f"imgserve cannot start: {exc}\n")
        return 2
    sys.stdout.write(f"{text}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m v3.gateway",
        description="The gateway before v3's backends. BACKENDS='MODEL=URL,...' says which "
        "there are; docs/settings.md has its other settings.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    document = commands.add_parser("openapi", help="print the document of Google's API Gateway")
    document.add_argument(
        "--private", action="store_true", help="backends ask for the gateway's ID token"
    )
    document.add_argument("--api-key", action="store_true", help="callers need an API key")
    config = commands.add_parser("nginx", help="print nginx's configuration")
    config.add_argument("--folder", type=Path, required=True, help="where nginx may write")
    commands.add_parser("serve", help="run nginx in the foreground")
    return parser


def _serve(
    settings: GatewaySettings, backends: Sequence[Backend], environ: Mapping[str, str]
) -> int:
    nginx = find_nginx(environ.get("PATH", ""))
    with TemporaryDirectory(prefix="imgserve-gateway-", dir=temporary_folder()) as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(configuration(settings, backends, config.parent), encoding="utf-8")
        models = ", ".join(backend.model for backend in backends)
        sys.stderr.write(f"gateway on {settings.host}, port {settings.port}: {models}\n")
        return serve(nginx, config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
