"""The environment in which the real gcloud talks to the rehearsal's server."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from tools.rehearsal.keys import certificate, private_key
from tools.rehearsal.policies import policy, set_policy
from tools.rehearsal.projects import add_project
from tools.rehearsal.store import Store, documents

# Each API that gcloud is sent to, and the path of its endpoint: storage has a version in it.
ENDPOINTS = {
    "artifactregistry": "",
    "cloudbilling": "",
    "cloudbuild": "",
    "cloudresourcemanager": "",
    "iam": "",
    "logging": "",
    "run": "",
    "secretmanager": "",
    "serviceusage": "",
    "storage": "storage/v1/",
}
TOKEN_URI = "http://oauth2.test/token"  # noqa: S105 (an address)
# Another gcloud's settings must not reach ours.
FOREIGN = ("CLOUDSDK_", "GOOGLE_", "GCLOUD_")
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def gcloud_environ(folder: Path, port: int, project: str) -> dict[str, str]:
    """Return the variables that point gcloud at the server on this port.

    The server must be running: gcloud asks it for a token when its account is activated. The
    account is a service account whose key is made here, and which owns the project; gcloud's
    configuration is a private folder.

    Give a process ``{**clean_environ(), **gcloud_environ(...)}``.
    """
    _add_owned_project(documents(folder), project)
    environ = _variables(folder, port, project)
    if not (folder / "gcloud" / "activated").exists():
        _activate(folder, project, environ)
    return environ


def _add_owned_project(store: Store, project: str) -> None:
    add_project(store, project)
    resource = f"projects/{project}"
    if not policy(store, resource)["bindings"]:
        owner = {"role": "roles/owner", "members": [f"serviceAccount:{_operator(project)}"]}
        set_policy(store, resource, {"bindings": [owner]})


def _operator(project: str) -> str:
    return f"operator@{project}.iam.gserviceaccount.com"


def clean_environ() -> dict[str, str]:
    """Return this process's variables without those that would steer gcloud elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {name: value for name, value in kept.items() if name.lower() not in PROXIES}


def _variables(folder: Path, port: int, project: str) -> dict[str, str]:
    overrides = {
        f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/{path}"
        for api, path in ENDPOINTS.items()
    }
    return overrides | {
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(certificate(folder)[0]),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_SHOW_STRUCTURED_LOGS": "never",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": str(port),
    }


def _activate(folder: Path, project: str, environ: dict[str, str]) -> None:
    key = folder / "gcloud" / "operator.json"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text(json.dumps(_service_account_key(folder, project)), "utf-8")
    key.chmod(0o600)
    gcloud = shutil.which("gcloud") or "gcloud"
    subprocess.run(
        [gcloud, "auth", "activate-service-account", f"--key-file={key}", "--quiet"],
        env=clean_environ() | environ,
        check=True,
        capture_output=True,
        text=True,
    )
    (key.parent / "activated").touch()


def _service_account_key(folder: Path, project: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "rehearsal",
        "private_key": private_key(folder / "keys" / "operator.pem"),
        "client_email": _operator(project),
        "client_id": "100000000000000000000",
        "token_uri": TOKEN_URI,
        "universe_domain": "googleapis.com",
    }
