"""Docker: a private daemon, the image that all others start from, and containers."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.process import LOOPBACK, Failed, Process, free_port, listens
from tools.rehearsal.cloud_run import container_of
from tools.rehearsal.host import find, say, serving
from tools.rehearsal.resources import secret_value
from tools.rehearsal.web import Json, Store

LIMIT_S = 60
LONG_S = 1800  # a pull over a slow line
IMAGE = "python:3.11-slim-bookworm"
SCRIPT = Path(__file__).with_name("base_image.sh")
CACHE = Path.home() / ".cache" / "imgserve" / "rehearsal"  # kept for the next rehearsal
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"  # of Debian
# What this machine trusts, and where its pip looks.
DOCKERFILE = f"""\
FROM debian-with-python
COPY certificates {CERTIFICATES}
COPY pip.conf /etc/pip.conf
CMD ["python3"]
"""
CARRIED = ("index_url", "extra_index_url", "find_links", "trusted_host")


@dataclass(frozen=True)
class Docker:
    """A daemon as its clients see it; ``environ`` is all that the docker command is to see."""

    environ: Mapping[str, str]

    def run(self, *words: str, limit_s: float = LIMIT_S) -> str:
        """Return what a docker command prints; Failed with what it said where it fails."""
        done = subprocess.run(
            ["timeout", f"{limit_s}", "docker", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise Failed(f"docker {words[0]}: {done.stderr.strip()} ({done.returncode})")
        return done.stdout.strip()

    def succeeds(self, *words: str, limit_s: float = LIMIT_S) -> bool:
        with suppress(Failed):
            self.run(*words, limit_s=limit_s)
            return True
        return False


@contextmanager
def daemon(folder: Path, environ: Mapping[str, str]) -> Iterator[Docker]:
    """Have a daemon of our own until the end of the block; Failed where it does not start."""
    if platform.system() != "Linux" or os.geteuid():
        raise Failed("The rehearsal starts a Docker daemon of its own: that takes root on Linux.")
    (folder / "config").mkdir(parents=True)
    own = {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_CONFIG": str(folder / "config")}
    # The classic builder: without the package of buildx, which Debian does not install along, the
    # client refuses to use another one.
    docker = Docker({**environ, **own, "DOCKER_BUILDKIT": "0"})
    ready = "version", "--format={{.Server.Version}}"
    try:
        with serving(_command(folder), folder / "dockerd.log", lambda: docker.succeeds(*ready)):
            yield docker
    finally:
        _unmount(folder)
        shutil.rmtree(folder / "data", ignore_errors=True)


def _unmount(folder: Path) -> None:
    """Undo what a daemon leaves mounted: a network namespace, and more when it ends by force."""
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    for point in sorted((line.split(" ")[1] for line in lines), reverse=True):  # inner ones first
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _command(folder: Path) -> list[str]:
    config = folder / "daemon.json"
    config.write_text("{}\n", "utf-8")  # in place of /etc/docker/daemon.json
    return [
        "dockerd",
        f"--config-file={config}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'dockerd.pid'}",
        f"--host=unix://{folder}/docker.sock",
        f"--containerd-namespace=rehearsal-{os.getpid()}",
        f"--containerd-plugins-namespace=rehearsal-plugins-{os.getpid()}",
        "--bridge=none",  # containers share the host's network, so its rules stay as they are
        "--iptables=false",
        "--ip6tables=false",
    ]


def make_image(docker: Docker, folder: Path, pip: str) -> None:
    """Have the image, pulled or as a stand-in whose pip reads this pip.conf; Failed without one."""
    if docker.succeeds("pull", "--quiet", IMAGE, limit_s=LONG_S):
        return
    say(f"{IMAGE} cannot be pulled: a Debian with its own Python stands in for it.")
    docker.run("import", str(_debian()), "debian-with-python", limit_s=LONG_S)
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE, "utf-8")
    (folder / "pip.conf").write_text(pip, "utf-8")
    shutil.copy(os.environ.get("SSL_CERT_FILE") or CERTIFICATES, folder / "certificates")
    docker.run("build", f"--tag={IMAGE}", str(folder))


def _debian() -> Path:
    """Return a tar archive of a Debian with Python; it is made once for all rehearsals."""
    archive = CACHE / "python-bookworm.tar"
    if archive.exists():
        return archive
    if not find("debootstrap"):
        raise Failed(f"{IMAGE} cannot be pulled. Install debootstrap to make a stand-in for it.")
    CACHE.mkdir(parents=True, exist_ok=True, mode=0o700)
    done = subprocess.run([SCRIPT, archive], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"debootstrap failed:\n{(done.stdout + done.stderr)[-1000:]}")
    return archive


@contextmanager
def pip_configuration(logs: Path) -> Iterator[str]:
    """Yield a pip.conf that says in a container what PIP_* say here, whose folders are served."""
    settings = {name: os.environ.get(f"PIP_{name.upper()}", "").split() for name in CARRIED}
    with ExitStack() as stack:
        folders = [Path(place) for place in settings["find_links"]]
        served = [stack.enter_context(_served(path, logs)) for path in folders if path.is_dir()]
        settings |= {"find_links": served, "cert": [CERTIFICATES]}
        named = {name.replace("_", "-"): " ".join(words) for name, words in settings.items()}
        lines = [f"{name} = {text}" for name, text in named.items() if text]
        yield "\n".join(["[global]", *lines, ""])


@contextmanager
def _served(files: Path, logs: Path) -> Iterator[str]:
    """Yield the address at which the files of a folder are."""
    port = free_port()
    place = [f"--bind={LOOPBACK}", f"--directory={files}", str(port)]
    command = [sys.executable, "-m", "http.server", *place]
    with serving(command, logs / f"{port}.log", lambda: listens(port)):
        yield f"http://{LOOPBACK}:{port}/"


# https://cloud.google.com/run/docs/container-contract
class ContainerLauncher:
    """Starts containers of revisions by Cloud Run's contract, as far as one machine goes."""

    def __init__(self, docker: Docker, store: Store, cloud_port: int, logs: Path) -> None:
        self._docker, self._store, self._logs = docker, store, logs
        self._cloud_port = cloud_port

    def __call__(self, revision: Json, port: int) -> Process:
        """Start a container; Failed where its image or its secret does not exist."""
        name, container = f"{revision['metadata']['name']}-{port}", container_of(revision)
        account = revision["spec"]["serviceAccountName"].partition("@")[0]
        metadata = f"{account}.metadata.test"  # whoever asks the metadata server by this name
        environ = self._environ(revision, port, f"{metadata}:{self._cloud_port}")
        options = ["--rm", f"--name={name}", *limits_of(container), "--network=host"]
        options += [f"--add-host={metadata}:127.0.0.1"]
        options += [f"--env={variable}" for variable in environ]  # values stay out of lists
        command = ["docker", "run", *options, self._image(revision)]  # it passes SIGTERM on
        log = self._logs / f"{name}.log"
        return Process(command, log, {**self._docker.environ, **environ})

    def _image(self, revision: Json) -> str:
        """Return a revision's image by its digest, which it keeps when the tag moves on."""
        tag, status = container_of(revision)["image"], revision["status"]
        if "imageDigest" not in status:
            self._docker.run("pull", "--quiet", tag, limit_s=LONG_S)
            form = "--format={{index .RepoDigests 0}}"
            status["imageDigest"] = self._docker.run("image", "inspect", form, tag)
        return str(status["imageDigest"])

    def _environ(self, revision: Json, port: int, metadata: str) -> dict[str, str]:
        email, given = revision["spec"]["serviceAccountName"], {}
        for variable in container_of(revision).get("env", []):
            value = variable.get("value", "")
            if source := variable.get("valueFrom"):
                secret, version = (source["secretKeyRef"][key] for key in ("name", "key"))
                value = secret_value(self._store, secret, version, email)
                if value is None:
                    raise Failed(f"There is no secret {secret} that {email} may read.")
            given[variable["name"]] = value
        return {
            **given,
            "PORT": str(port),
            # What Cloud Run does not set: on a shared network, nobody outside is to reach it, and
            # the metadata server cannot have the address that Google's has.
            "HOST": LOOPBACK,
            "STREAMLIT_SERVER_ADDRESS": LOOPBACK,
            "GCE_METADATA_HOST": metadata,
            "GCE_METADATA_IP": metadata,
        }


def limits_of(container: Json) -> list[str]:
    """Return docker's options for a container's memory and CPUs."""
    limits = container["resources"]["limits"]
    memory = limits["memory"].removesuffix("i").lower()  # docker's g and m are binary as they are
    cpus = min(float(limits["cpu"]), os.cpu_count() or 1)  # docker refuses more than there are
    return [f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={cpus:g}"]
