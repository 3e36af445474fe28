"""service_COMPONENT.yaml asks Cloud Run for what the component's deploy script asks it for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conventions.deployment import NAMES, read
from tests.services.deployment.project import IMAGES, PROJECT, REGION, Project
from tests.services.deployment.real_gcloud import Google

SCRIPTS_ONLY = ("--no-traffic", "--tag=")  # of a revision that is tested before it serves
PRIVATE = "--no-allow-unauthenticated"  # else gcloud first asks who may change that
REPLACE = f"gcloud run services replace - --project={PROJECT} --region={REGION}".split()
OF_GCLOUD = ("/client-name", "/client-version", "/nonce")
# What envsubst fills in, and what the scripts find out by themselves, from their stand-ins.
FILLED_IN = {
    "PROJECT_ID": PROJECT,
    "IMAGES": IMAGES,
    "TAG": "latest",
    "SECRET_VERSION": "3",
    "SERVING_AUTH": "none",
    "MODELS": "swin_b",
    "MODEL": "swin_b",
    "SERVICE": "v3-backend-swin-b",
    "BACKENDS": "swin_b=https://v3-backend-swin-b.a.run.app",
    "API_GATEWAY": "https://v3-gateway.a.run.app",
}


def filled_in(root: Path, name: str) -> str:
    """Return a component's file as envsubst fills it in."""
    serving_url = f"https://{name.replace('frontend_', 'backend-')}.a.run.app"
    values = {**FILLED_IN, "SERVING_URL": serving_url}
    return re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], read(root, f"service_{name}.yaml"))


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a document says: paths with their values; what is empty says nothing."""
    if isinstance(tree, list):
        tree = {entry.get("name") or number: entry for number, entry in enumerate(tree)}
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path} {key}")
    elif tree != "":
        yield path, str(tree).lower()  # 'True' and 'true' are the same


def asked_of_google(line: list[str], google: Google, stdin: str = "") -> set[tuple[str, str]]:
    """Return what the real gcloud asks Cloud Run to keep, without what is gcloud's own."""
    google.sent.clear()
    ended = google.run(line, stdin)
    services = [sent for sent in google.sent if sent.get("kind") == "Service"]
    assert len(services) == 1, ended.stderr
    return {leaf for leaf in leaves(services[0]) if not leaf[0].endswith(OF_GCLOUD)}


@pytest.mark.parametrize("name", NAMES)
def test_service_is_the_one_that_the_script_deploys(
    name: str, project: Project, root: Path, google: Google
) -> None:
    models = {"MODELS": "swin_b"} if name.startswith("v3") else {}
    assert project.run(f"deploy_{name}.sh", **models).returncode == 0
    (line,) = [call for call in project.calls() if call[1:3] == ["run", "deploy"]]
    line = [word for word in line if not word.startswith(SCRIPTS_ONLY)]
    deployed = asked_of_google([*line, PRIVATE], google)
    replaced = asked_of_google(REPLACE, google, filled_in(root, name))
    assert (replaced - deployed, deployed - replaced) == (set(), set())


def test_gcloud_refuses_a_field_that_cloud_run_does_not_have(root: Path, google: Google) -> None:
    wrong = filled_in(root, "backend_v1").replace("containerConcurrency", "concurrency")
    ended = google.run(REPLACE, wrong)
    assert "Service.spec.template.spec.concurrency" in ended.stderr
    assert google.sent == []
