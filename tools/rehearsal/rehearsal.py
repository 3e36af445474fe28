"""All that a rehearsal stands on, begun and ended in the right order; and gcloud's environment."""

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from werkzeug.serving import make_server

from tools.process import LOOPBACK, Failed, free_port, free_ports, listens
from tools.rehearsal.cloud_run import CloudRun, Launcher
from tools.rehearsal.cloudbuild import Builder
from tools.rehearsal.docker import ContainerLauncher, Docker, daemon, make_image, pip_configuration
from tools.rehearsal.host import registry, serving
from tools.rehearsal.web import Store, create_app

PROJECT = "rehearsal"
REPOSITORY = "imgserve"  # the scripts' default
NGINX = Template(Path(__file__).with_name("front_door.conf").read_text("utf-8"))
POLICY_S = 8  # long enough for a script that does not wait to fail
# A built-in model, whose weights are a package, so that no model hub is needed, and a person's own.
BUILT_IN, OWN = "efficientnet_lite0", "lite0_of_mine"
MODELS = OWN, BUILT_IN  # in this order, since v1's build has then made the layers of the second
# The APIs that gcloud is sent to.
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam", "logging"),
    *("run", "secretmanager", "serviceusage"),
)
# What the scripts see of a person's variables: neither their own nor another gcloud's settings.
KEPT = {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"}


@dataclass
class Rehearsal:
    """Where everything is, and the programs that the steps run, which end together."""

    registry: str  # host and port
    docker: Docker  # the daemon that builds and runs
    store: Store  # all that the stand-ins know
    environ: Mapping[str, str]  # what the scripts are to see
    logs: Path  # of the steps
    steps: int = 0  # so far
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _has_ended: bool = False

    def output(self, command: Sequence[str], **options: Any) -> tuple[int, bytes]:
        """Run a program to its end; return its exit status and what it printed."""
        with self._lock:
            if self._has_ended:
                raise Failed("the rehearsal is being ended")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
                **options,
            )
            self._started.append(process)
        printed, _ = process.communicate(timeout=3600)
        return process.returncode, printed

    def end(self) -> None:
        """Kill all programs under way with all that they started; no other one starts."""
        with self._lock:
            self._has_ended = True
            for process in self._started:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def rehearsal(folder: Path) -> Iterator[Rehearsal]:
    """Have a cloud in an empty folder until the end of the block; Failed where that cannot be."""
    store, port = Store(PROJECT, POLICY_S), free_port()
    with (
        daemon(folder / "docker", clean_environ()) as docker,
        registry(folder / "registry") as address,
        pip_configuration(folder / "find-links") as pip,
        ThreadPoolExecutor(1) as pool,
    ):
        image = pool.submit(make_image, docker, folder / "base_image", pip)
        builder = Builder(folder / "builds", store, docker.environ, address, image.result)
        launch = ContainerLauncher(docker, store, port, folder / "run")
        with cloud(folder, port, store, builder, launch):
            own = {"PROJECT_ID": PROJECT, "REGISTRY": address, "PAUSE_S": "1"}
            own |= {"MODEL_NAME": BUILT_IN, "MODELS": ",".join(MODELS)}
            environ = {**docker.environ, **gcloud_environ(folder / "gcloud", port, store), **own}
            (folder / "logs").mkdir()
            yield Rehearsal(address, docker, store, environ, folder / "logs")


@contextmanager
def cloud(
    folder: Path, port: int, store: Store, builder: Builder, launch: Launcher
) -> Iterator[None]:
    """Run the stand-ins until the end of the block. Their builds and containers end, too."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    with front_door(folder / "front_door", port) as ports:
        run = CloudRun(store, ports, launch)
        server = make_server(LOOPBACK, port, create_app(store, builder, run), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            run.stop()


@contextmanager
def front_door(folder: Path, cloud_port: int) -> Iterator[list[int]]:
    """Have nginx listen on these ports, and ask the stand-ins at ``cloud_port`` of each request."""
    ports = free_ports(64)  # v3 with all its models takes 13, and as many again for each tag
    config = folder / "nginx.conf"
    folder.mkdir()
    listen = "\n    ".join(f"listen {LOOPBACK}:{port};" for port in ports)
    config.write_text(NGINX.substitute(folder=folder, listen=listen, cloud=cloud_port), "utf-8")
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]
    with serving(command, folder / "nginx.log", lambda: listens(ports[-1])):
        yield ports


def clean_environ() -> dict[str, str]:
    """Return this process's variables without those that could steer gcloud or the scripts."""
    return {name: os.environ[name] for name in KEPT & os.environ.keys()}


def gcloud_environ(folder: Path, port: int, store: Store) -> dict[str, str]:
    """Return variables that point gcloud, signed in as the project's owner, at the stand-ins."""
    settings = {f"API_ENDPOINT_OVERRIDES_{name.upper()}": f"http://{name}.test/" for name in APIS}
    settings |= {
        "API_ENDPOINT_OVERRIDES_STORAGE": "http://storage.test/storage/v1/",
        "CONFIG": str(folder),
        "CORE_PROJECT": store.project,
        "CORE_DISABLE_PROMPTS": "1",
        "CORE_HTTP_TIMEOUT": "3600",  # a build is answered once it is over
        "CORE_DISABLE_USAGE_REPORTING": "true",
        "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "PROXY_TYPE": "http",
        "PROXY_ADDRESS": LOOPBACK,
        "PROXY_PORT": str(port),
    }
    environ = {f"CLOUDSDK_{name}": value for name, value in settings.items()}
    _sign_in(folder, store, clean_environ() | environ)  # the stand-ins must be answering
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
