"""The configuration of nginx, from the list of backends, and what the gateway itself answers.

What is put into it was either checked to hold no character that means something to nginx, or is
quoted here. The API key is not in it: only a digest.
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from imgserve import errors
from imgserve.contract import FORM_OVERHEAD_BYTES, MODEL, MODEL_PREDICT, MODELS, Problem
from v3.gateway.settings import Backend, GatewaySettings, bracketed, ip_address

RESOLV_CONF = Path("/etc/resolv.conf")
# Debian and Alpine; Fedora; macOS and the BSDs.
AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
TEMPLATE = Path(__file__).with_name("nginx.conf.in")
# Connections kept to a backend; it may predict as many pictures at once as it has CPUs.
KEPT_CONNECTIONS = 16


class InvalidApiKey(errors.HttpError, status=401, title="Invalid API key"): ...


class ModelUnreachable(
    errors.HttpError, status=502, title="Backend unreachable", slug="backend-unreachable"
):
    """A model's backend does not answer, or not in HTTP."""


class ModelTooSlow(
    errors.HttpError, status=504, title="Backend too slow", slug="backend-timeout"
): ...


ROUTES = ", ".join((MODELS, *(path.format(model="<id>") for path in (MODEL, MODEL_PREDICT))))
# What the gateway itself answers; $model and its like are variables of nginx.
PROBLEMS: dict[type[errors.HttpError], str] = {
    errors.InvalidRequest: "the request is not HTTP that can be read: see RFC 9112",
    InvalidApiKey: "the header X-API-Key is missing or wrong: ask who runs this service for a key",
    errors.UnknownModel: "there is no model ${{asked_model}}here: choose one of {models}",
    errors.UnknownRoute: f"there is nothing at this path: the gateway has {ROUTES}",
    errors.MethodNotAllowed: "this path answers $allowed",
    errors.PictureTooLarge: "the request is larger than a picture of {limit_bytes} bytes: "
    "send a smaller one",
    errors.InternalError: "something went wrong on our side: the log has it under this request_id",
    ModelUnreachable: "the backend of $model cannot be reached: "
    "try again later, or choose another model",
    ModelTooSlow: "the backend of $model did not answer in time, {timeout_s:g} s at most: "
    "try again later, or choose another model",
}


def configuration(settings: GatewaySettings, backends: Sequence[Backend], folder: Path) -> str:
    """Return the configuration of nginx, which writes into this folder; the default comes first.

    InvalidSetting where something that is needed is missing or cannot be written down.
    """
    models = [backend.model for backend in backends]
    limit_bytes = settings.max_image_bytes + FORM_OVERHEAD_BYTES
    project = settings.google_cloud_project
    values = {
        "FOLDER": _path(folder),
        "LISTEN": f"{bracketed(settings.host)}:{settings.port}",
        "TIMEOUT_MS": str(max(1, round(settings.backend_timeout_s * 1000))),
        "LIMIT_BYTES": str(limit_bytes),
        "BUFFER_BYTES": str(limit_bytes + limit_bytes // 16),
        "TRACE_PREFIX": f"projects/{project}/traces/" if project else "",
        "MODELS": msgspec.json.encode(models).decode(),
        "MODEL_NAMES": "|".join(models),
        "HOSTS": " ".join(f"/{one.model} {one.authority};" for one in backends),
        "TARGETS": " ".join(f"/{one.model} {one.scheme}://{_target(one)};" for one in backends),
        "GROUPS": "\n    ".join(_group(one) for one in backends if not one.needs_look_up),
        "NAME_SERVERS": _name_servers(settings.resolver, backends),
        "AUTHORITIES": _authorities(settings.ssl_cert_file, backends),
        **_key(settings.api_key),
        **_problems(models, settings),
    }
    text = re.sub("@([A-Z_]+)@", lambda name: values[name[1]], TEMPLATE.read_text("utf-8"))
    return re.sub(".*  # if \n|  # if .*", "", text)


def _problems(models: Sequence[str], settings: GatewaySettings) -> dict[str, str]:
    """Return every problem as JSON that stands between single quotes, by its slug in capitals."""
    told = {"models": ", ".join(models), "limit_bytes": settings.max_image_bytes}
    quoted = {}
    for kind, said in PROBLEMS.items():
        detail = said.format(**told, timeout_s=settings.backend_timeout_s)
        problem = Problem(kind.type_uri, kind.title, kind.status, detail, "$id")
        text = msgspec.json.encode(problem).decode()
        name = kind.slug.upper().replace("-", "_")
        quoted[name] = text.replace("\\", "\\\\").replace("'", "\\'")
    return quoted


def _key(api_key: str) -> dict[str, str]:
    """Return what a caller's key is compared with: a salt of this start, and a digest with it.

    How long a comparison takes says nothing about the key, and who reads the configuration cannot
    send it. MD5 is what nginx offers; nobody can choose both texts, which is what it is broken for.
    """
    salt = secrets.token_hex(16) if api_key else ""
    digest = hashlib.md5(f"{salt}{api_key}".encode(), usedforsecurity=False).digest()
    return {"SALT": salt, "KEY_DIGEST": urlsafe_b64encode(digest).decode().rstrip("=")}


def _path(path: Path) -> str:
    text = str(path)
    if not text.isprintable() or set(text) & set("\"'\\$;{}#"):
        raise errors.InvalidSetting(
            f"the path {text!r} cannot be used: nginx gives its characters a sense"
        )
    return text


def _name_servers(given: tuple[str, ...], backends: Sequence[Backend]) -> str:
    """Return who is asked for the names of backends, if any has one that is not of this machine."""
    names = [backend.host for backend in backends if backend.needs_look_up]
    servers = given or tuple(_servers_of_the_system())
    if names and not servers:
        raise errors.InvalidSetting(
            f"no name server is known that could look up {names[0]}: set RESOLVER to one"
        )
    return " ".join(servers) if names else ""


def _servers_of_the_system() -> Iterator[str]:
    """Yield name servers as nginx writes them; none where none can be found."""
    with suppress(OSError, ValueError):
        for word in re.findall(r"(?m)^nameserver\s+(\S+)", RESOLV_CONF.read_text("utf-8")):
            with suppress(ValueError):  # an address that nginx cannot use
                yield bracketed(ip_address(word))


def _authorities(given: Path | None, backends: Sequence[Backend]) -> str:
    """Return the file of the authorities to trust, where a backend has a certificate.

    It is the given one, else the system's: nginx by itself believes any certificate.
    """
    if all(backend.scheme == "http" for backend in backends):
        return ""
    candidates = (given,) if given else AUTHORITIES
    if file := next(filter(Path.is_file, candidates), None):
        return _path(file)
    raise errors.InvalidSetting(
        "the certificates of the authorities that https needs are not in "
        f"{' or '.join(map(str, candidates))}: install ca-certificates, or set SSL_CERT_FILE"
    )


def _target(backend: Backend) -> str:
    return f"{backend.host}:{backend.port}" if backend.needs_look_up else backend.model


def _group(backend: Backend) -> str:
    """Return a group of one, to which connections are kept.

    A name in it would be looked up only at the start, before nginx 1.27.3:
    https://nginx.org/en/docs/http/ngx_http_upstream_module.html#resolve
    """
    host = "127.0.0.1" if backend.host == "localhost" else bracketed(backend.host)
    server = f"server {host}:{backend.port}; keepalive {KEPT_CONNECTIONS};"
    return f"upstream {backend.model} {{ {server} }}"
