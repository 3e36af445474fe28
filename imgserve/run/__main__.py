"""``make run``: check what was asked for, then run it."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from imgserve import contract
from imgserve.errors import ImgserveError
from imgserve.processes import say, supervise
from imgserve.run.ports import port_complaints, url
from imgserve.run.services import services
from imgserve.run.settings import RunSettings
from v3.gateway.system import find_nginx

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "imgserve" / "samples" / "cat.jpg"


def announcement(settings: RunSettings, ready: Sequence[str]) -> str:
    """Return where the page is, and a command that asks a model.

    Args:
        settings: what was asked for.
        ready: names of the services that can be used; in v3 the models are among them.
    """
    lines = [f"  page     {url(settings.frontend_port)}"]
    if settings.has_gateway:
        lines.append(f"  gateway  {url(settings.gateway_port)}{contract.MODELS}")
    if address := _predict_url(settings, ready):
        upload = shlex.quote(f"{contract.IMAGE_FIELD}=@{SAMPLE}")
        lines.append(f"  curl     curl -F {upload} {address}")
    return "\n".join([*lines, "Ctrl-C stops everything.\n"])


def _predict_url(settings: RunSettings, ready: Sequence[str]) -> str:
    """Return where to send a picture; nothing where no model is there."""
    if settings.version == "v1":
        return url(settings.backend_port) + contract.PREDICT
    there = [model for model in settings.models if model in ready or not settings.has_gateway]
    if not there:
        return ""
    port = settings.gateway_port if settings.has_gateway else settings.backend_port
    return url(port) + contract.MODEL_PREDICT.format(model=there[0])


def main(environ: Mapping[str, str]) -> int:
    """Check what was asked for, then run it; return the exit status."""
    try:
        settings = RunSettings.from_environ(environ)
        if settings.has_gateway:
            find_nginx(environ.get("PATH", ""))
    except ImgserveError as exc:
        say(str(exc))
        return 2
    if complaints := port_complaints(settings):
        say("\n".join(complaints))
        return 2
    return supervise(services(settings, environ), ROOT, lambda ready: announcement(settings, ready))


if __name__ == "__main__":
    sys.exit(main(os.environ))
