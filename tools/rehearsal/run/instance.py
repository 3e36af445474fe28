"""What a container is given when it starts: Cloud Run's contract, as far as one machine goes.

https://cloud.google.com/run/docs/container-contract
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tools.rehearsal.answers import ApiError
from tools.rehearsal.apis.secretmanager import may_read, secret_value
from tools.rehearsal.run.checks import cpu_count, memory_bytes
from tools.rehearsal.run.place import Place
from tools.rehearsal.run.revisions import SERVICE_LABEL
from tools.rehearsal.store import Document, Store


class SecretRefused(Exception):
    """A secret that the container needs cannot be read by its account."""


@dataclass(frozen=True)
class Start:
    """Options of `docker run`, and the values of secrets, which are not among them."""

    options: list[str]
    secrets: dict[str, str]

    def without_limits(self) -> "Start":
        """Return the same for a daemon that cannot limit memory or CPUs."""
        kept = [each for each in self.options if not each.startswith(("--memory", "--cpus"))]
        return Start(kept, self.secrets)


def container_of(revision: Document) -> Document:
    """Return the one container of a revision's spec."""
    container: Document = revision["spec"]["containers"][0]
    return container


def port_of(revision: Document) -> int:
    """Return the port on which the spec expects the container."""
    port: int = container_of(revision)["ports"][0]["containerPort"]
    return port


def start(
    store: Store, revision: Document, port: int, metadata_port: int, environ: Mapping[str, str]
) -> Start:
    """Return how to start a container of a revision.

    Args:
        store: where the secrets are.
        revision: what to run.
        port: where it shall listen. On Cloud Run that is the spec's port; here all containers
            share the host's network, and two of them cannot have the same one.
        metadata_port: where the metadata server of the revision's account answers.
        environ: REHEARSAL_DOCKER_FLAGS are more options for docker.

    Raises:
        SecretRefused: it needs a secret that is missing or not its own to read.
    """
    container = container_of(revision)
    given = {each["name"]: each for each in container.get("env", [])}
    secrets = {
        name: _secret(store, revision, each["valueFrom"]["secretKeyRef"])
        for name, each in given.items()
        if "valueFrom" in each
    }
    plain = {name: each.get("value", "") for name, each in given.items() if name not in secrets}
    plain |= _contract(revision, port) | _loopback(metadata_port)
    options = [*_flags(environ), *_limits(container["resources"]["limits"])]
    options += [f"--env={name}={value}" for name, value in plain.items()]
    options += [f"--env={name}" for name in secrets]
    return Start([*options, *_command(container)], secrets)


def _contract(revision: Document, port: int) -> dict[str, str]:
    service = revision["metadata"]["labels"][SERVICE_LABEL]
    name = revision["metadata"]["name"]
    return {
        "PORT": str(port),
        "K_SERVICE": service,
        "K_REVISION": name,
        "K_CONFIGURATION": service,
    }


def _loopback(metadata_port: int) -> dict[str, str]:
    """Return what Cloud Run does not set, but a machine shared with its owner's things needs.

    A container of ours must not be reachable from outside (HOST; Streamlit has its own name for
    it), and the metadata server cannot have the address that Google's has.
    """
    metadata = f"127.0.0.1:{metadata_port}"
    return {
        "HOST": "127.0.0.1",
        "STREAMLIT_SERVER_ADDRESS": "127.0.0.1",
        "GCE_METADATA_HOST": metadata,
        "GCE_METADATA_IP": metadata,
    }


def _flags(environ: Mapping[str, str]) -> list[str]:
    """Return the options for the network and for keeping the output.

    The host's network always: services call each other at the router's ports on 127.0.0.1.
    """
    flags = shlex.split(environ.get("REHEARSAL_DOCKER_FLAGS", ""))
    if not any(each.startswith(("--network", "--net")) for each in flags):
        flags += ["--network", "host"]
    return [*flags, "--log-driver", "json-file"]


def _limits(limits: Mapping[str, str]) -> list[str]:
    memory = memory_bytes(limits["memory"])
    # Docker refuses more CPUs than there are.
    cpus = min(cpu_count(limits["cpu"]), os.cpu_count() or 1)
    # Equal numbers: memory and swap together, so that there is no swap.
    return [f"--memory={memory}", f"--memory-swap={memory}", f"--cpus={cpus:g}"]


def _command(container: Document) -> list[str]:
    """Return the option for another entry point; its further words follow the image."""
    command = container.get("command") or []
    return [f"--entrypoint={command[0]}"] if command else []


def arguments(container: Document) -> list[str]:
    """Return the words that follow the image."""
    return [*(container.get("command") or [])[1:], *(container.get("args") or [])]


def _secret(store: Store, revision: Document, reference: Mapping[str, str]) -> str:
    project = revision["metadata"]["namespace"]
    name, version = reference["name"], reference["key"]
    email = revision["spec"]["serviceAccountName"]
    full = f"projects/{project}/secrets/{name}/versions/{version}"
    try:
        value = secret_value(store, project, name, version)
    except ApiError as exc:
        raise SecretRefused(f"Secret {full} was not found") from exc
    if not may_read(store, project, name, email):
        raise SecretRefused(
            f"Permission denied on secret: {full} for Revision service account {email}. "
            "The service account used must be granted the 'Secret Manager Secret Accessor' role "
            "(roles/secretmanager.secretAccessor) at the secret, project or higher level."
        )
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise SecretRefused(f"Secret {full} is not text") from exc


def place_of(revision: Document) -> Place:
    """Return where a revision lives."""
    metadata = revision["metadata"]
    return Place(metadata["namespace"], metadata["labels"]["cloud.googleapis.com/location"])
