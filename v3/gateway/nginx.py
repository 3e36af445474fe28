"""The configuration of nginx, from the list of backends.

What is put into it was either checked to hold no character that means something to nginx, or is
quoted here. The API key is not in it: only a digest.
"""

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from imgserve.contract import FORM_OVERHEAD_BYTES, MODEL, MODEL_PREDICT
from imgserve.errors import InvalidSetting
from v3.gateway.backends import Backend, bracketed
from v3.gateway.problems import body, problems
from v3.gateway.settings import GatewaySettings, ip_address

RESOLV_CONF = Path("/etc/resolv.conf")
# Debian and Alpine; Fedora; macOS and the BSDs.
AUTHORITIES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
TEMPLATE = Path(__file__).with_name("nginx.conf.in")
PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
# A name server has 30 s by default, more than a person waits.
RESOLVER_TIMEOUT_S = 5
# Connections kept to a backend; it may predict as many pictures at once as it has CPUs.
KEPT_CONNECTIONS = 16
KEY_CHECK = "if ($secure_link != 1) { return 401; }"


def configuration(settings: GatewaySettings, backends: Sequence[Backend], folder: Path) -> str:
    """Return the configuration of nginx, which writes into this folder; the default comes first.

    InvalidSetting where something that is needed is missing or cannot be written down.
    """
    models = tuple(backend.model for backend in backends)
    errors = problems(models, settings.max_image_bytes, settings.backend_timeout_s)
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
        "RESOLVER": _resolver(settings.resolver, backends),
        "PROXY_SSL": _proxy_ssl(settings.ssl_cert_file, backends),
        "UPSTREAMS": "\n".join(_upstream(one) for one in backends if not one.needs_look_up),
        "LOCATIONS": "\n".join(_locations(one, bool(settings.api_key)) for one in backends),
        "KEY": _key(settings.api_key),
        "KEY_CHECK": KEY_CHECK if settings.api_key else "",
        **{name: _quoted(body(error, "$id")) for name, error in errors.items()},
    }
    return filled(TEMPLATE.read_text(encoding="utf-8"), values)


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with every ``@NAME@`` replaced; a line that held nothing else may go."""
    lines = (PLACEHOLDER.sub(lambda name: values[name[1]], line) for line in template.split("\n"))
    pairs = zip(template.split("\n"), lines, strict=True)
    return "\n".join(line for before, line in pairs if line.strip() or not before.strip())


def _path(path: Path) -> str:
    text = str(path)
    if not text.isprintable() or set(text) & set("\"'\\$;{}#"):
        raise InvalidSetting(
            f"the path {text!r} cannot be used: nginx gives its characters a sense"
        )
    return text


def _quoted(text: str) -> str:
    """Return a text as it stands between single quotes; ``$name`` stays a variable."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _key(api_key: str) -> str:
    """Return what compares a caller's key with ours.

    Both with a salt of this start, as digests: how long a comparison takes says nothing about the
    key, and who reads the configuration cannot send it. MD5 is what the module offers; nobody can
    choose both texts, which is what MD5 is broken for.
    """
    if not api_key:
        return ""
    salt = secrets.token_hex(16)
    digest = hashlib.md5(f"{salt}{api_key}".encode(), usedforsecurity=False).digest()
    expected = urlsafe_b64encode(digest).decode().rstrip("=")
    return f'secure_link {expected};\n        secure_link_md5 "{salt}$http_x_api_key";'


def _resolver(given: tuple[str, ...], backends: Sequence[Backend]) -> str:
    names = [backend.host for backend in backends if backend.needs_look_up]
    if not names:
        return ""
    servers = given or tuple(name_servers_of(RESOLV_CONF))
    if not servers:
        raise InvalidSetting(
            f"no name server is known that could look up {names[0]}: set RESOLVER to one"
        )
    return f"resolver {' '.join(servers)};\n    resolver_timeout {RESOLVER_TIMEOUT_S}s;"


def name_servers_of(resolv_conf: Path) -> Iterator[str]:
    """Yield the system's name servers as nginx writes them; none where none can be found."""
    with suppress(OSError, ValueError):
        for line in resolv_conf.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError):  # an address that nginx cannot use
                    yield bracketed(ip_address(words[1]))


def _proxy_ssl(given: Path | None, backends: Sequence[Backend]) -> str:
    """Return how backends prove who they are; nginx by itself believes any certificate."""
    if all(backend.scheme == "http" for backend in backends):
        return ""
    return (
        "proxy_ssl_protocols TLSv1.2 TLSv1.3;\n    proxy_ssl_verify on;\n"
        "    proxy_ssl_verify_depth 4;\n"
        f'    proxy_ssl_trusted_certificate "{_path(_authorities(given))}";'
    )


def _authorities(given: Path | None) -> Path:
    """Return the file of the authorities to trust: the given one, else the system's."""
    candidates = (given,) if given else AUTHORITIES
    for file in candidates:
        if file.is_file():
            return file
    raise InvalidSetting(
        "the certificates of the authorities that https needs are not in "
        f"{' or '.join(map(str, candidates))}: install ca-certificates, or set SSL_CERT_FILE"
    )


def _upstream(backend: Backend) -> str:
    """Return a group of one, to which connections are kept.

    A name in it would be looked up only at the start, before nginx 1.27.3:
    https://nginx.org/en/docs/http/ngx_http_upstream_module.html#resolve
    """
    host = "127.0.0.1" if backend.host == "localhost" else bracketed(backend.host)
    return (
        f"    upstream {backend.model} {{\n"
        f"        server {host}:{backend.port};\n"
        f"        keepalive {KEPT_CONNECTIONS};\n"
        "    }"
    )


def _locations(backend: Backend, has_key: bool) -> str:
    """Return the two paths of a model.

    The path that is passed on is written out, so that both sides agree on what it means; a
    variable in it makes nginx look names up when a request comes.
    """
    target = f"{backend.host}:{backend.port}" if backend.needs_look_up else backend.model
    paths = (path.format(model=backend.model) for path in (MODEL, MODEL_PREDICT))
    return "\n".join(
        f"        location = {path} {{\n"
        f"            set $model {backend.model};\n"
        f"            set $backend_host {backend.authority};\n"
        f"            set $backend_name {bracketed(backend.host)};\n"
        + (f"            {KEY_CHECK}\n" if has_key else "")
        + f"            proxy_pass {backend.scheme}://{target}{path}$is_args$args;\n"
        "        }"
        for path in paths
    )
