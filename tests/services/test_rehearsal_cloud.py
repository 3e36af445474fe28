"""The real gcloud against the rehearsal's stand-ins, with processes in place of containers."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.services.rehearsed_cloud import RehearsedCloud, rehearsed_cloud
from tests.unit.waiting import wait_until
from tools.rehearsal.web import Store

PROJECT = "a-project"
WHERE = "--region=northamerica-northeast1"
RUNNER = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
BUILDER = f"projects/{PROJECT}/serviceAccounts/imgserve-build@{PROJECT}.iam.gserviceaccount.com"
CALL_S = 120  # gcloud takes one or two, and setup.sh calls it often
SUBMIT = ["builds", "submit", WHERE, f"--gcs-source-staging-dir=gs://{PROJECT}-imgserve-source/s"]
SUBMIT += [f"--service-account={BUILDER}", "--async", "--format=value(id)"]
TIMES = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 20}
PROBE = {"httpGet": {"path": "/ready", "port": 8000}, **TIMES}
PROBE_FLAG = "httpGet.path=/ready,httpGet.port=8000,periodSeconds=1,timeoutSeconds=1"
GREETING = """
steps:
  - id: greet
    name: gcr.io/cloud-builders/docker
    entrypoint: bash
    args: [-c, 'echo $_WORD from $PROJECT_ID; cat file; X=6; echo $$((X * 7))']
substitutions: {_WORD: hello}
options: {logging: CLOUD_LOGGING_ONLY}
"""

Gcloud = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedCloud]:
    if shutil.which("gcloud") is None:
        pytest.skip("needs gcloud")
    with rehearsed_cloud(tmp_path_factory.mktemp("rehearsal"), Store(PROJECT)) as made:
        yield made


@pytest.fixture(scope="module")
def gcloud(google: RehearsedCloud, root: Path) -> Gcloud:
    """Return what runs gcloud with these arguments, in a project that setup.sh has set up."""
    environ = google.environ()

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = words if words[0].endswith(".sh") else ("gcloud", *words)
        return subprocess.run(
            command, check=False, env=environ, capture_output=True, text=True, timeout=CALL_S
        )

    done = call(str(root / "deployment" / "setup.sh"))
    assert done.returncode == 0, done.stderr
    return call


def deploy(gcloud: Gcloud, image: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Deploy the service `hello`, whose answer is its image's name."""
    words = ("run", "deploy", "hello", WHERE, f"--image={image}", f"--service-account={RUNNER}")
    size = ("--cpu=1", "--memory=512Mi", "--port=8000")
    return gcloud(*words, *size, f"--startup-probe={PROBE_FLAG},failureThreshold=20", *more)


def described(gcloud: Gcloud, form: str) -> str:
    shown = gcloud("run", "services", "describe", "hello", WHERE, f"--format=value({form})")
    return shown.stdout.strip()


def answer(url: str) -> str:
    """Return the image that answers."""
    with requests.Session() as http:
        http.trust_env = False
        return http.get(url, timeout=30).text.split()[2]


def test_a_build_is_uploaded_run_and_its_log_read(gcloud: Gcloud, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("content of the file\n")
    (tmp_path / "build.yaml").write_text(GREETING)
    done = gcloud(*SUBMIT, str(tmp_path / "source"), f"--config={tmp_path / 'build.yaml'}")
    assert done.returncode == 0, done.stderr
    steps = ["--flatten=steps", "--format=value(status,steps.status,steps.id)"]
    shown = gcloud("builds", "describe", done.stdout.strip(), WHERE, *steps).stdout
    assert shown == "SUCCESS\tSUCCESS\tgreet\n"
    log = gcloud("builds", "log", done.stdout.strip(), WHERE).stdout
    for line in ("hello from a-project", "content of the file", "42"):
        assert f"greet: {line}\n" in log


def test_a_service_is_deployed_broken_and_rolled_back(
    gcloud: Gcloud, google: RehearsedCloud
) -> None:
    done = deploy(gcloud, "first", "--allow-unauthenticated")
    assert done.returncode == 0, done.stderr
    url, first = (described(gcloud, form) for form in ("status.url", "status.traffic.revisionName"))
    assert answer(url) == "first"

    held = ("--no-traffic", "--tag=candidate")
    assert deploy(gcloud, "second", *held).returncode == 0
    form = "--format=value(status.traffic.url)"
    flat = ("--flatten=status.traffic[]", "--filter=status.traffic.tag=candidate")
    candidate = gcloud("run", "services", "list", WHERE, *flat, form).stdout.strip()
    assert (answer(url), answer(candidate)) == ("first", "second")
    update = ("run", "services", "update-traffic", "hello", WHERE)
    assert gcloud(*update, "--to-latest", "--remove-tags=candidate").returncode == 0
    assert answer(url) == "second"
    wait_until(lambda: not google.instances[0].runs)  # as it has neither traffic nor a tag

    missing = "Image 'missing' not found"
    for image, why in (
        ("missing", missing),
        ("broken", "exit status 1"),
        ("broken", "it is broken"),
    ):
        failed = deploy(gcloud, image, *held)
        assert (failed.returncode, why in failed.stderr) == (1, True), failed.stderr
        assert answer(url) == "second"

    # The tag of a broken revision is enough for a change of traffic to fail; so is a wrong name.
    assert gcloud(*update, f"--to-revisions={first}=100").returncode == 1
    assert gcloud(*update, "--to-revisions=hello-none=100", "--clear-tags").returncode == 1
    assert answer(url) == "second"
    back = gcloud(*update, f"--to-revisions={first}=100", "--clear-tags")
    assert back.returncode == 0, back.stderr
    assert answer(url) == "first"
    listed = gcloud("run", "revisions", "list", "--service=hello", WHERE, "--format=value(name)")
    assert len(listed.stdout.split()) == 5


def test_a_document_that_says_something_else_makes_a_revision(
    gcloud: Gcloud, tmp_path: Path
) -> None:
    document, form = tmp_path / "hello.yaml", "status.latestReadyRevisionName"
    before, seen = described(gcloud, form), []
    for image in ("third", "third", "fourth"):
        container = {"image": image, "ports": [{"containerPort": 8000}], "startupProbe": PROBE}
        spec = {"serviceAccountName": RUNNER, "containers": [container]}
        about = {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}
        about |= {"metadata": {"name": "hello"}, "spec": {"template": {"spec": spec}}}
        document.write_text(json.dumps(about))
        done = gcloud("run", "services", "replace", str(document), WHERE)
        assert done.returncode == 0, done.stderr
        assert answer(described(gcloud, "status.url")) == image
        seen.append(described(gcloud, form))
    assert seen[0] == seen[1] != seen[2]
    assert before not in seen
