"""All that a rehearsal stands on, begun and ended in the right order; and gcloud's environment."""

import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from werkzeug.serving import make_server

from tools.process import LOOPBACK, free_port
from tools.rehearsal.cloud_run import CloudRun, Launcher
from tools.rehearsal.cloudbuild import Builder
from tools.rehearsal.docker import ContainerLauncher, Docker, daemon, python_image
from tools.rehearsal.front_door import front_door
from tools.rehearsal.host import registry
from tools.rehearsal.web import Store, create_app

PROJECT = "rehearsal"
REPOSITORY = "imgserve"  # the scripts' default
POLICY_S = 8  # long enough for a script that does not wait to fail
# A built-in model, whose weights are a package, so that no model hub is needed, and a person's own.
MODELS = BUILT_IN, OWN = "efficientnet_lite0", "lite0_of_mine"
# The APIs that gcloud is sent to.
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam", "logging"),
    *("run", "secretmanager", "serviceusage"),
)
# What the scripts see of a person's variables: neither their own nor another gcloud's settings.
KEPT = {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"}


@dataclass(frozen=True)
class Rehearsal:
    """Where everything is."""

    registry: str  # host and port
    docker: Docker  # the daemon that builds and runs
    store: Store  # all that the stand-ins know
    environ: Mapping[str, str]  # what the scripts are to see


@contextmanager
def rehearsal(folder: Path, *, is_measured: bool) -> Iterator[Rehearsal]:
    """Have a cloud in an empty folder until the end of the block.

    One that is measured lets no build use what another component's has made. Failed where
    something is missing or does not work.
    """
    store, port = Store(PROJECT, POLICY_S), free_port()
    with (
        daemon(folder / "docker", clean_environ()) as docker,
        registry(folder / "registry") as address,
        python_image(docker, folder),
    ):
        others = [] if is_measured else [f"{address}/{PROJECT}/{REPOSITORY}/backend_v1"]
        builder = Builder(folder / "builds", store, docker.environ, address, others)
        launch = ContainerLauncher(docker, store, port, folder / "run")
        with cloud(folder, port, store, builder, launch):
            own = {"PROJECT_ID": PROJECT, "REGISTRY": address, "PAUSE_S": "1"}
            own |= {"MODEL_NAME": BUILT_IN, "MODELS": ",".join(MODELS)}
            environ = {**docker.environ, **gcloud_environ(folder / "gcloud", port, store), **own}
            yield Rehearsal(address, docker, store, environ)


@contextmanager
def cloud(
    folder: Path, port: int, store: Store, builder: Builder, launch: Launcher
) -> Iterator[None]:
    """Run the stand-ins until the end of the block. Their builds and containers end, too."""
    log = logging.FileHandler(folder / "cloud.log")
    logging.getLogger().addHandler(log)
    with front_door(folder / "front_door", port) as ports:
        run = CloudRun(store, ports, launch)
        app = create_app(store, builder, run)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
        server = make_server(LOOPBACK, port, app, threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            run.stop()
            logging.getLogger().removeHandler(log)
            log.close()


def clean_environ() -> dict[str, str]:
    """Return this process's variables without those that could steer gcloud or the scripts."""
    return {name: os.environ[name] for name in KEPT & os.environ.keys()}


def gcloud_environ(folder: Path, port: int, store: Store) -> dict[str, str]:
    """Return the variables that point gcloud at the stand-ins, which must be answering.

    gcloud works as a service account whose key is made here and which owns the project.
    """
    endpoints = {name: f"http://{name}.test/" for name in APIS}
    endpoints["storage"] = "http://storage.test/storage/v1/"
    overrides = {
        f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": url for name, url in endpoints.items()
    }
    environ = overrides | {
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_PROJECT": store.project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_HTTP_TIMEOUT": "3600",  # a build is answered once it is over
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
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
