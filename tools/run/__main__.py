"""``make run``: check what was asked for, then run it."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from imgserve import contract
from imgserve.errors import ImgserveError
from tools.run.services import services
from tools.run.settings import RunSettings, port_complaint, url
from tools.run.supervisor import say, supervise
from v3.gateway.system import find_nginx

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "imgserve" / "samples" / "cat.jpg"


def announcement(settings: RunSettings, models: Sequence[str]) -> str:
    """Return where the page is, and a command that sends the first of these models a picture."""
    lines = [f"  page     {url(settings.frontend_port)}"]
    if settings.has_gateway:
        lines.append(f"  gateway  {url(settings.gateway_port)}{contract.MODELS}")
    upload = shlex.quote(f"{contract.IMAGE_FIELD}=@{SAMPLE}")
    lines.append(f"  curl     curl -F {upload} {_predict_url(settings, models[0])}")
    return "\n".join([*lines, "Ctrl-C stops everything.\n"])


def _predict_url(settings: RunSettings, model: str) -> str:
    if settings.version == "v1":
        return url(settings.backend_port) + contract.PREDICT
    port = settings.gateway_port if settings.has_gateway else settings.backend_port
    return url(port) + contract.MODEL_PREDICT.format(model=model)


def main(environ: Mapping[str, str]) -> int:
    """Check what was asked for, then run it; return the exit status."""
    try:
        settings = RunSettings.from_environ(environ)
        if settings.has_gateway:
            find_nginx(environ.get("PATH", ""))
    except ImgserveError as exc:
        say(str(exc))
        return 2
    if complaint := port_complaint(settings, environ):
        say(complaint)
        return 2
    return supervise(services(settings, environ), ROOT, partial(announcement, settings))


if __name__ == "__main__":
    sys.exit(main(os.environ))
