"""Manifests for Kubernetes fit its schemas, and a process allowed no more than they allow works."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import requests
import yaml

from tests.conventions.documents import section
from tests.services.conftest import GUNICORN, Service, free_port
from tests.services.deployment.test_real_gcloud import filled_in
from tests.unit import pictures

VERSION = "1.37"
FOLDER = "deployment/kubernetes"
MAX_SCALE = "autoscaling.knative.dev/maxScale"
# Nothing may be written but to memory and, where there is an emptyDir, to that; nobody is root.
ALLOWED = """
mount --make-rprivate /
[ -z "${TMPDIR:-}" ] || mount -t tmpfs tmpfs "$TMPDIR"
mount -o remount,bind,ro /
! touch written 2>/dev/null || exit 1
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
Json = dict[str, Any]


def built(folder: Path) -> list[Json]:
    """Return what kubectl would apply of a folder."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: https://kubernetes.io/docs/tasks/tools")
    return list(yaml.safe_load_all(subprocess.check_output(["kubectl", "kustomize", folder])))


@pytest.fixture(scope="module", params=["v1", "v2"])
def documents(request: pytest.FixtureRequest, root: Path) -> list[Json]:
    """Return what is applied of a version; tests leave it as it is."""
    return built(root / FOLDER / request.param)


def containers(documents: list[Json]) -> dict[str, tuple[Json, Json]]:
    """Return each Deployment's pod and its one container, by name."""
    found = {}
    for document in documents:
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            (only,) = pod["containers"]
            found[document["metadata"]["name"]] = (pod, only)
    assert set(found) == {"backend", "frontend"}
    return found


def test_documents_fit_the_schemas_of_kubernetes(documents: list[Json]) -> None:
    kinds = [document["kind"] for document in documents]
    assert sorted(kinds) == sorted(["Deployment", "HorizontalPodAutoscaler", "Service"] * 2)
    for document in documents:
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_containers_are_as_on_cloud_run(documents: list[Json], root: Path) -> None:
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]: str(one["spec"]["maxReplicas"])
        for one in documents
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    for side, (_, here) in containers(documents).items():
        assert here["image"] in {f"{side}_v1", f"{side}_v2"}
        template = yaml.safe_load(filled_in(root, here["image"]))["spec"]["template"]
        (there,) = template["spec"]["containers"]
        assert here["resources"]["limits"] == there["resources"]["limits"]
        assert here["ports"][0]["containerPort"] == there["ports"][0]["containerPort"]
        assert here["startupProbe"]["httpGet"]["path"] == there["startupProbe"]["httpGet"]["path"]
        assert scaled[side] == template["metadata"]["annotations"][MAX_SCALE]
        names = {entry["name"] for entry in there["env"]} - {"GOOGLE_CLOUD_PROJECT", "SERVING_AUTH"}
        assert {entry["name"] for entry in here.get("env", [])} == names


def test_pods_are_restricted(documents: list[Json], root: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, and a little more."""
    for side, (pod, container) in containers(documents).items():
        assert pod["automountServiceAccountToken"] is False
        user = pod["securityContext"]["runAsUser"]
        assert f"--uid {user} " in (root / f"deployment/Dockerfile.{side}_base").read_text()
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@contextmanager
def started(root: Path, container: Json, *command: str, **environ: str) -> Iterator[Service]:
    """Run a pod's container as a process of this machine that passes its probes."""
    if os.geteuid() != 0:
        pytest.skip("mounts are made by root only")
    if container.get("volumeMounts"):
        environ["TMPDIR"] = "/mnt"  # what is in /tmp here, tests need
    allowed = ("unshare", "--mount", "sh", "-euc", ALLOWED, "sh", *command)
    service = Service(allowed, root, free_port(), environ)
    try:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            service.wait_until(container[probe]["httpGet"]["path"])
        yield service
    finally:
        service.stop()


def test_services_start_and_work_with_a_read_only_root(root: Path, weights_dir: Path) -> None:
    (_, backend_container), (_, page_container) = containers(built(root / FOLDER / "v1")).values()
    settings = {"MODEL_NAME": "efficientnet_lite0", "WEIGHTS_DIR": str(weights_dir)}
    backend_command = (*GUNICORN, "backend_v1.app:app")
    page_command = (sys.executable, "-m", "imgserve.frontend", "frontend_v1/app.py")
    with started(root, backend_container, *backend_command, **settings) as backend:
        files = {"image": pictures.path("coffee.png").read_bytes()}
        answer = requests.post(f"{backend.url}/predict", files=files, timeout=30)
        assert "category" in answer.json()
        with started(root, page_container, *page_command, SERVING_URL=backend.url) as page:
            assert "Animal Classification" in requests.get(page.url, timeout=30).text


def test_the_documented_command_names_the_registry(root: Path) -> None:
    (command,) = [
        command
        for command in section(root, "On Kubernetes", "docs/deploying.md").commands
        if command.startswith("kubectl kustomize")
    ]
    made, _, applied = command.rpartition(" | ")
    assert applied == "kubectl apply -f -"
    told = {**os.environ, "images": "registry.example/imgserve", "tag": "build-1"}
    text = subprocess.check_output(["bash", "-c", made], cwd=root, env=told)
    for side, (_, container) in containers(list(yaml.safe_load_all(text))).items():
        assert container["image"] == f"registry.example/imgserve/{side}_v1:build-1"
