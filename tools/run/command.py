"""The command that started a run, to be given again."""

import shlex
from collections.abc import Mapping
from dataclasses import fields

from imgserve.settings import BackendSettings, FrontendSettings
from tools.run.settings import RunSettings
from v3.gateway.settings import GatewaySettings

# What the run tells its services itself; secrets, which no screen should show; and what other
# programs read too, which is set for all of them and stays so.
UNSAID = frozenset(
    {"HOST", "PORT", "SERVING_HOST", "SERVING_PORT", "SERVING_URL", "API_GATEWAY", "BACKENDS"}
    | {"API_KEY", "SECRET_KEY"}
    | {"GOOGLE_CLOUD_PROJECT", "SSL_CERT_FILE"}
)
KINDS = (RunSettings, BackendSettings, GatewaySettings, FrontendSettings)
NAMES = dict.fromkeys(each.name.upper() for kind in KINDS for each in fields(kind))


def command(environ: Mapping[str, str], changes: Mapping[str, str]) -> str:
    """Return ``make run`` with the settings of this environment, some of them changed."""
    given = {name: environ[name] for name in NAMES if environ.get(name) and name not in UNSAID}
    words = [shlex.quote(f"{name}={value}") for name, value in {**given, **changes}.items()]
    return " ".join(["make run", *words])
