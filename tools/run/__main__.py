"""``make run``: check what was asked for, then run it."""

import os
import shlex
import sys
from collections.abc import Mapping

from imgserve import contract
from imgserve.errors import ImgserveError
from imgserve.models import catalogue
from imgserve.settings import BackendSettings
from tools.process import ROOT
from tools.run.services import services
from tools.run.settings import RunSettings, port_complaint, url
from tools.run.supervisor import say, supervise
from v3.gateway.serve import find_nginx

SAMPLE = ROOT / "imgserve" / "samples" / "cat.jpg"


def announcement(settings: RunSettings) -> str:
    """Return where the page is, and a command that sends the default model a picture."""
    asked = url(settings.backend_port) + contract.PREDICT
    lines = [f"  page     {url(settings.frontend_port)}"]
    if settings.has_gateway:
        predict = contract.MODEL_PREDICT.format(model=settings.models[0])
        asked = url(settings.gateway_port) + predict
        lines.append(f"  gateway  {url(settings.gateway_port)}{contract.MODELS}")
    lines.append(f"  curl     curl -F {shlex.quote(f'{contract.IMAGE_FIELD}=@{SAMPLE}')} {asked}")
    return "\n".join([*lines, "Ctrl-C stops everything.\n"])


def main(environ: Mapping[str, str]) -> int:
    """Check what was asked for, then run it; return the exit status."""
    try:
        settings = RunSettings.from_environ(environ)
        models_file = BackendSettings.from_environ(environ).models_file
        for model in settings.models:
            catalogue.entry(model, models_file)
        if settings.has_gateway:
            find_nginx(environ.get("PATH", ""))
        started = services(settings, environ)
    except ImgserveError as exc:
        say(str(exc))
        return 2
    if complaint := port_complaint(settings):
        say(complaint)
        return 2
    return supervise(started, announcement(settings))


if __name__ == "__main__":
    sys.exit(main(os.environ))
