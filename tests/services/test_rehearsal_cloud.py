"""The real gcloud against the rehearsal's stand-ins, with processes in place of containers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tools.rehearsal.builder import Builder
from tools.rehearsal.host import free_ports
from tools.rehearsal.instance import Instance, InstanceFailed, container_of
from tools.rehearsal.rehearsal import clean_environ, cloud, gcloud_environ
from tools.rehearsal.store import Json, Store

PROJECT = "a-project"
REGION = "northamerica-northeast1"
WHERE = f"--region={REGION}"
BUCKET = f"gs://{PROJECT}-imgserve-source"
RUNNER = f"imgserve-run@{PROJECT}.iam.gserviceaccount.com"
BUILDER = f"projects/{PROJECT}/serviceAccounts/imgserve-build@{PROJECT}.iam.gserviceaccount.com"
CALL_S = 120  # gcloud takes one or two, and setup.sh calls it often
SUBMIT = ["builds", "submit", WHERE, f"--gcs-source-staging-dir={BUCKET}/source"]
SUBMIT += [f"--service-account={BUILDER}", "--async", "--format=value(id)"]
HTTP_PROBE = {"httpGet": {"path": "/ready", "port": 8000}}
PROBE = "httpGet.path=/ready,httpGet.port=8000,periodSeconds=1,failureThreshold=20"
GREETING = """
steps:
  - id: greet
    name: gcr.io/cloud-builders/docker
    entrypoint: bash
    args: [-c, 'echo $_WORD from $PROJECT_ID; cat file; X=6; echo $$((X * 7))']
substitutions: {_WORD: hello}
options: {logging: CLOUD_LOGGING_ONLY}
"""
# Answers with its revision; "broken" in the name of the image makes it end.
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["WORD"].encode())
print("starting", os.environ["WORD"], flush=True)
if "broken" in sys.argv[2]: sys.exit(3)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Gcloud = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal")


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(PROJECT)


@pytest.fixture(scope="module")
def environ(folder: Path, store: Store) -> Iterator[dict[str, str]]:
    """Return what gcloud and the scripts see, while the stand-ins answer."""
    if shutil.which("gcloud") is None:
        pytest.skip("needs gcloud")

    def launch(revision: Json, port: int) -> Instance:
        container = container_of(revision)
        if "missing" in container["image"]:
            raise InstanceFailed(f"Image '{container['image']}' not found.")
        words = {each["name"]: each["value"] for each in container["env"]}
        log = folder / "run" / f"{revision['metadata']['name']}.log"
        command = [sys.executable, "-c", SERVER, str(port), container["image"]]
        return Instance(command, words, log, port)

    builder = Builder(folder / "builds", store, clean_environ(), "a-registry")
    (port,) = free_ports(1)
    with cloud(folder, port, store, builder, launch):
        own = {"PROJECT_ID": PROJECT, "PAUSE_S": "1"}
        yield clean_environ() | gcloud_environ(folder / "gcloud", port, store) | own


@pytest.fixture(scope="module")
def gcloud(environ: dict[str, str], root: Path) -> Gcloud:
    """Return what runs gcloud with these arguments, in a project that setup.sh has set up."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run("gcloud", *arguments, environ=environ)

    done = run(str(root / "deployment" / "setup.sh"), environ=environ)
    assert done.returncode == 0, done.stderr
    return call


def run(*command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, env=environ, capture_output=True, text=True, timeout=CALL_S
    )


def deploy(gcloud: Gcloud, image: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Deploy the service `hello`, whose answer is its image's name."""
    words = ("run", "deploy", "hello", WHERE, f"--image={image}", f"--service-account={RUNNER}")
    size = ("--cpu=1", "--memory=512Mi", "--port=8000", f"--startup-probe={PROBE}")
    return gcloud(*words, *size, f"--set-env-vars=WORD={image}", "--format=none", *more)


def described(gcloud: Gcloud, form: str) -> str:
    shown = gcloud("run", "services", "describe", "hello", WHERE, f"--format=value({form})")
    return shown.stdout.strip()


def answer(url: str, **headers: str) -> tuple[int, str]:
    with requests.Session() as http:
        http.trust_env = False
        got = http.get(url, headers=headers, timeout=30)
    return got.status_code, got.text


def test_check_says_what_setup_has_made(
    gcloud: Gcloud, environ: dict[str, str], root: Path
) -> None:
    done = run(str(root / "deployment" / "check.sh"), environ=environ)
    assert "Nothing is missing." in done.stderr
    elsewhere = environ | {"PROJECT_ID": "other-project"}
    other = run(str(root / "deployment" / "check.sh"), environ=elsewhere)
    assert "missing  the project" in other.stderr
    assert "missing  the API run.googleapis.com" in other.stderr


def test_a_build_is_uploaded_run_and_its_log_read(gcloud: Gcloud, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("content of the file\n")
    (tmp_path / "build.yaml").write_text(GREETING)
    words = (*SUBMIT, str(tmp_path / "source"), f"--config={tmp_path / 'build.yaml'}")
    done = gcloud(*words)
    assert done.returncode == 0, done.stderr
    steps = ["--flatten=steps", "--format=value(status,steps.status,steps.id)"]
    shown = gcloud("builds", "describe", done.stdout.strip(), WHERE, *steps).stdout
    assert shown == "SUCCESS\tSUCCESS\tgreet\n"
    log = gcloud("builds", "log", done.stdout.strip(), WHERE).stdout
    for line in ("hello from a-project", "content of the file", "42"):
        assert f"greet: {line}\n" in log
    unused = gcloud(*words, "--substitutions=_A=b")
    assert "keys ['_A'] in the substitution data are not matched" in unused.stderr


def test_a_service_is_deployed_broken_and_rolled_back(gcloud: Gcloud, folder: Path) -> None:
    done = deploy(gcloud, "first", "--allow-unauthenticated")
    assert done.returncode == 0, done.stderr
    url, first = (described(gcloud, form) for form in ("status.url", "status.traffic.revisionName"))
    assert answer(url) == (200, "first")

    held = ("--no-traffic", "--tag=candidate")
    assert deploy(gcloud, "second", *held).returncode == 0
    form = "--format=value(status.traffic.url)"
    flat = ("--flatten=status.traffic[]", "--filter=status.traffic.tag=candidate")
    candidate = gcloud("run", "services", "list", WHERE, *flat, form).stdout.strip()
    assert (answer(url)[1], answer(candidate)[1]) == ("first", "second")
    update = ("run", "services", "update-traffic", "hello", WHERE)
    assert gcloud(*update, "--to-latest", "--remove-tags=candidate").returncode == 0
    assert answer(url) == (200, "second")

    for image, why in (("broken", "exit(3)"), ("missing", "Image 'missing' not found")):
        failed = deploy(gcloud, image, *held)
        assert failed.returncode == 1
        assert why in failed.stderr
        assert answer(url) == (200, "second")
    assert "starting broken" in "".join(log.read_text() for log in folder.glob("run/hello-*.log"))

    back = gcloud(*update, f"--update-tags=rollback={first}", "--remove-tags=candidate")
    assert back.returncode == 0, back.stderr
    back = gcloud(*update, f"--to-revisions={first}=100", "--remove-tags=rollback")
    assert back.returncode == 0, back.stderr
    assert answer(url) == (200, "first")
    listed = gcloud("run", "revisions", "list", "--service=hello", WHERE, "--format=value(name)")
    assert len(listed.stdout.split()) == 4


def test_a_document_that_says_something_else_makes_a_revision(
    gcloud: Gcloud, tmp_path: Path
) -> None:
    document, form = tmp_path / "hello.yaml", "status.latestReadyRevisionName"
    words = ("run", "services", "replace", str(document), WHERE)
    before, seen = described(gcloud, form), []
    for word in ("third", "third", "fourth"):
        container = {"image": "any", "ports": [{"containerPort": 8000}]}
        container |= {"env": [{"name": "WORD", "value": word}], "startupProbe": HTTP_PROBE}
        spec = {"serviceAccountName": RUNNER, "containers": [container]}
        about = {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}
        about |= {"metadata": {"name": "hello"}, "spec": {"template": {"spec": spec}}}
        document.write_text(json.dumps(about))
        done = gcloud(*words)
        assert done.returncode == 0, done.stderr
        assert answer(described(gcloud, "status.url"))[1] == word
        seen.append(described(gcloud, form))
    assert seen[0] == seen[1] != seen[2]
    assert before not in seen


def test_a_private_service_asks_for_a_token_of_somebody_invited(gcloud: Gcloud) -> None:
    url = described(gcloud, "status.url") or pytest.fail("it is not deployed")
    rule = ("run", "services", "remove-iam-policy-binding", "hello", WHERE)
    everyone = ("--member=allUsers", "--role=roles/run.invoker", "--format=none")
    assert gcloud(*rule, *everyone).returncode == 0
    assert answer(url)[0] == 403
    assert answer(url, Authorization="Bearer a.b.c")[0] == 401
    for audience, status in ((url, 200), ("https://elsewhere.test", 401)):
        asked = gcloud("auth", "print-identity-token", f"--audiences={audience}")
        assert answer(url, Authorization=f"Bearer {asked.stdout.strip()}")[0] == status


def test_teardown_leaves_nothing(
    gcloud: Gcloud, environ: dict[str, str], root: Path, store: Store
) -> None:
    done = run(str(root / "deployment" / "teardown.sh"), environ=environ | {"YES": "1"})
    assert done.returncode == 0, done.stderr
    kinds = ("repositories", "buckets", "objects", "accounts", "secrets", "services", "revisions")
    assert {kind: store.all(kind) for kind in kinds if store.all(kind)} == {}
