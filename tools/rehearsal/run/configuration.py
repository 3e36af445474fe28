"""The configuration of nginx, which is the front door of every service.

https://nginx.org/en/docs/http/ngx_http_split_clients_module.html splits the traffic;
https://nginx.org/en/docs/http/ngx_http_auth_request_module.html asks who may come in.
"""

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# https://cloud.google.com/run/quotas#request_limits, for HTTP/1
REQUEST_MIB = 32
# https://cloud.google.com/run/docs/known-issues#ah; /healthz is the best known of those in "z".
TAKEN = (r"^/_ah/", r"^/eventlog$", r"^/healthz$")
NOT_FOUND = "Page not found: Google's front end keeps this path for itself."
UNAVAILABLE = "Service Unavailable: the service has no revision that is ready to serve."
BROKEN = (
    "The request failed because either the HTTP response was malformed "
    "or connection to the instance had an error."
)


@dataclass(frozen=True)
class Share:
    """A revision's container and how many of 100 requests it gets."""

    port: int
    percent: int


@dataclass(frozen=True)
class Door:
    """One address: a service's, or a tag's.

    Attributes:
        name: the service's key, for the configuration's reader and for asking who may come in.
        port: where it listens, on 127.0.0.1.
        shares: who answers; empty while nobody can.
        private: callers must show a token.
        sticky: a browser stays with the revision that it met first.
        timeout_s: of a request. nginx counts between two pieces of an answer, Cloud Run in all.
    """

    name: str
    port: int
    shares: Sequence[Share]
    private: bool
    sticky: bool
    timeout_s: int


@dataclass(frozen=True)
class Office:
    """One account's metadata server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        path: where the inside server answers for the account.
    """

    port: int
    path: str


def configuration(
    folder: Path,
    version_port: int,
    inside_port: int,
    doors: Sequence[Door],
    offices: Sequence[Office],
) -> str:
    """Return nginx's configuration; `@VERSION@` in it is to be filled in."""
    # As root, nginx would give its workers to an account that may not see the folder.
    user = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
    parts = [_door(index, door, inside_port) for index, door in enumerate(doors)]
    parts += [_office(office, inside_port) for office in offices]
    head = HEAD % {"folder": folder, "version_port": version_port, "mib": REQUEST_MIB}
    return f"{user}{head}{''.join(parts)}}}\n"


HEAD = """
pid "%(folder)s/nginx.pid";
error_log "%(folder)s/nginx.log" warn;
worker_processes 1;
worker_shutdown_timeout 10s;  # what a container has, too
events { worker_connections 1024; }
http {
    client_body_temp_path "%(folder)s/client_body";
    proxy_temp_path "%(folder)s/proxy";
    fastcgi_temp_path "%(folder)s/fastcgi";
    uwsgi_temp_path "%(folder)s/uwsgi";
    scgi_temp_path "%(folder)s/scgi";
    access_log "%(folder)s/requests.log";
    server_tokens off;
    types { }
    default_type text/plain;
    client_max_body_size %(mib)dm;

    # WebSockets: the connection is handed on as it is.
    map $http_upgrade $hop { default upgrade; "" ""; }
    # Every request has a trace, the caller's or a new one.
    map $http_x_cloud_trace_context $trace {
        default $http_x_cloud_trace_context;
        "" "$request_id/1";
    }
    # Session affinity, by the cookie that Cloud Run uses.
    map $cookie_gaesa $session { default $cookie_gaesa; "" $request_id; }
    map $cookie_gaesa $new_session {
        default "";
        "" "GAESA=$request_id; Path=/; HttpOnly; Max-Age=2592000";
    }

    proxy_http_version 1.1;
    proxy_buffering off;  # an answer arrives as it is written
    proxy_request_buffering off;
    proxy_next_upstream off;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $hop;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Cloud-Trace-Context $trace;

    server {
        listen 127.0.0.1:%(version_port)d;
        access_log off;
        return 200 "@VERSION@";
    }
"""


def _door(index: int, door: Door, inside_port: int) -> str:
    split = _split(index, door) if door.shares else ""
    taken = "".join(
        f'        location ~ "{path}" {{ return 404 "{NOT_FOUND}\\n"; }}\n' for path in TAKEN
    )
    gate = _gate(door, inside_port) if door.private else ""
    return f"""
    # {door.name}
{split}    server {{
        listen 127.0.0.1:{door.port};
{taken}{gate}{_location(index, door)}    }}
"""


def _split(index: int, door: Door) -> str:
    """Return who gets which requests; the last one also gets what rounding leaves."""
    *first, last = door.shares
    lines = [f"        {share.percent}% 127.0.0.1:{share.port};\n" for share in first]
    lines.append(f"        * 127.0.0.1:{last.port};\n")
    key = "$session" if door.sticky else "$request_id"
    return f"    split_clients {key} $revision_{index} {{\n{''.join(lines)}    }}\n"


def _location(index: int, door: Door) -> str:
    if not door.shares:
        return f'        location / {{ return 503 "{UNAVAILABLE}\\n"; }}\n'
    ask = ASK if door.private else ""
    cookie = "            add_header Set-Cookie $new_session;\n" if door.sticky else ""
    return f"""        location / {{
{ask}{cookie}            proxy_read_timeout {door.timeout_s}s;
            proxy_send_timeout {door.timeout_s}s;
            proxy_pass http://$revision_{index};
            error_page 502 =503 @broken;
            error_page 504 @late;
        }}
        location @broken {{ return 503 "{BROKEN}\\n"; }}
        location @late {{ return 504 "upstream request timeout\\n"; }}
"""


def _gate(door: Door, inside_port: int) -> str:
    return f"""        location = /_rehearsal/gate {{
            internal;
            proxy_pass http://127.0.0.1:{inside_port}/gate/{door.name};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
        location @unauthorized {{ return 401 "{UNAUTHORIZED}\\n"; }}
        location @forbidden {{ return 403 "{FORBIDDEN}\\n"; }}
"""


ASK = """            auth_request /_rehearsal/gate;
            error_page 401 @unauthorized;
            error_page 403 @forbidden;
"""
UNAUTHORIZED = "Error: Unauthorized: the token is not valid for this service."
FORBIDDEN = "Error: Forbidden: Your client does not have permission to get this URL."


def _office(office: Office, inside_port: int) -> str:
    return f"""
    server {{
        listen 127.0.0.1:{office.port};
        location / {{ proxy_pass http://127.0.0.1:{inside_port}/metadata/{office.path}/; }}
    }}
"""
