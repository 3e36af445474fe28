"""All that a rehearsal stands on, begun and ended in the right order; and gcloud's environment."""

import json
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from tools.rehearsal import cloud_run, cloudbuild, resources, tokens
from tools.rehearsal.builder import Builder
from tools.rehearsal.docker import ContainerLauncher, Docker, daemon, python_image
from tools.rehearsal.front_door import front_door
from tools.rehearsal.host import LOOPBACK, free_ports, registry
from tools.rehearsal.instance import Launcher
from tools.rehearsal.store import Store
from tools.rehearsal.web import create_app

PROJECT = "rehearsal"
REPOSITORY = "imgserve"  # the scripts' default
POLICY_S = 8  # long enough for a script that does not wait to fail
BLUEPRINTS = (*resources.BLUEPRINTS, cloudbuild.api, cloudbuild.logging, cloud_run.api)
# Each API that gcloud is sent to, and the path of its endpoint: storage has a version in it.
ENDPOINTS = {blueprint.name: "" for blueprint in BLUEPRINTS} | {"storage": "storage/v1/"}
# Another gcloud's settings must not reach ours, nor a person's own values the scripts.
FOREIGN = ("CLOUDSDK_", "DOCKER_", "GOOGLE_", "GCLOUD_")
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
SETTINGS = {
    *("REGION", "REPO_NAME", "MODELS", "MODEL_NAME", "PRECISION", "TAG", "PRIVATE", "YES"),
    *("MIN_INSTANCES", "MAX_INSTANCES", "BUILD_REGION", "FETCH_CONTACT", "API_GATEWAY"),
    *("MODELS_FILE", "PAGE_TITLE"),
}


@dataclass(frozen=True)
class Rehearsal:
    """Where everything is."""

    registry: str  # host and port
    docker: Docker  # the daemon that builds and runs
    store: Store  # all that the stand-ins know
    environ: Mapping[str, str]  # what the scripts are to see


@contextmanager
def rehearsal(
    folder: Path, cache: Path, say: Callable[[str], None], *, is_measured: bool
) -> Iterator[Rehearsal]:
    """Have a cloud in an empty folder until the end of the block.

    ``cache`` is kept for the next rehearsal. One that is measured lets no build use what another
    component's has made. HostFailed where something is missing or does not work.
    """
    store, (port,) = Store(PROJECT, POLICY_S), free_ports(1)
    with (
        daemon(folder / "docker", clean_environ()) as docker,
        registry(folder / "registry") as address,
        python_image(docker, folder, cache, say),
        cloud(
            folder,
            port,
            store,
            Builder(
                folder / "builds",
                store,
                docker.environ,
                address,
                cache_from="" if is_measured else f"{address}/{PROJECT}/{REPOSITORY}/backend_v1",
            ),
            ContainerLauncher(docker, store, port, folder / "run"),
        ),
    ):
        own = {"PROJECT_ID": PROJECT, "REGISTRY": address, "PAUSE_S": "1"}
        environ = {**docker.environ, **gcloud_environ(folder / "gcloud", port, store), **own}
        yield Rehearsal(address, docker, store, environ)


@contextmanager
def cloud(
    folder: Path, port: int, store: Store, builder: Builder, launch: Launcher
) -> Iterator[None]:
    """Run the stand-ins until the end of the block. Their builds and containers end, too."""
    log = logging.FileHandler(folder / "cloud.log")
    logging.getLogger().addHandler(log)
    with front_door(folder / "front_door", port) as addresses:
        run = cloud_run.CloudRun(store, addresses, launch)
        parts = (store, builder, addresses, run)
        own = (cloud_run.entry, tokens.oauth, tokens.metadata)
        app = create_app((*BLUEPRINTS, *own), parts)
        server = make_server(LOOPBACK, port, app, threaded=True, request_handler=_Quiet)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            run.stop()
            logging.getLogger().removeHandler(log)
            log.close()


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: the lines that matter are those of requests nobody knows."""


def clean_environ() -> dict[str, str]:
    """Return this process's variables without those that would steer gcloud or the scripts."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and name.lower() not in PROXIES and name not in SETTINGS
    }


def gcloud_environ(folder: Path, port: int, store: Store) -> dict[str, str]:
    """Return the variables that point gcloud at the stand-ins, which must be answering.

    gcloud works as a service account whose key is made here and which owns the project.
    """
    overrides = {
        f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/{path}"
        for api, path in ENDPOINTS.items()
    }
    environ = overrides | {
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_PROJECT": store.project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_HTTP_TIMEOUT": "3600",  # a build is answered once it is over
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_SHOW_STRUCTURED_LOGS": "never",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": LOOPBACK,
        "CLOUDSDK_PROXY_PORT": str(port),
    }
    _sign_in(folder, store, clean_environ() | environ)
    return environ


def _sign_in(folder: Path, store: Store, environ: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    key = folder / "operator.json"
    genpkey = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    made = subprocess.run(genpkey, check=True, capture_output=True, text=True)
    about = {
        "type": "service_account",
        "project_id": store.project,
        "private_key_id": "rehearsal",
        "private_key": made.stdout,
        "client_email": store.operator,
        "client_id": "1",
        "token_uri": "http://oauth2.test/token",
    }
    key.write_text(json.dumps(about), "utf-8")
    sign_in = ["gcloud", "auth", "activate-service-account", f"--key-file={key}", "--quiet"]
    subprocess.run(sign_in, env=environ, check=True, capture_output=True)
