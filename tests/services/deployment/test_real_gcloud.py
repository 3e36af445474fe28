"""The real gcloud, which asks a server of this machine instead of Google, understands all of it."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.conventions.deployment import read
from tests.conventions.documents import section
from tests.servers import Quiet, served
from tests.services.deployment.project import (
    IMAGES,
    PROJECT,
    REGION,
    RUN_ACCOUNT,
    Project,
    gcloud_environ,
)
from tests.services.deployment.scenarios import SCENARIOS, expected
from tools.rehearsal.host import copy_source

Line = list[str]
TIMEOUT_S = 120
# Names of gcloud's settings, https://cloud.google.com/sdk/gcloud/reference/topic/configurations
APIS = (
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "iam"),
    *("logging", "run", "secretmanager", "serviceusage", "storage"),
)
NOT_FOUND = {"error": {"code": 404, "message": "nothing is there", "status": "NOT_FOUND"}}


class Google:
    """A proxy that says of everything that it is not there, but for its answers.

    Attributes:
        answers: by the end of the path that is asked for.
        sent: what it was told to keep.
    """

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []
        self.environ = gcloud_environ(folder) | {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/" for api in APIS
        }

    def run(self, line: Line, stdin: str = "a secret", **environ: str) -> CompletedProcess[str]:
        """Return how a command ends whose gcloud asks this proxy."""
        return subprocess.run(
            line,
            check=False,
            env=self.environ | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    """Return what the real gcloud asks, and by which it is run."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    google = Google(tmp_path)

    class Handler(Quiet):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body.startswith(b"{"):
                google.sent.append(json.loads(body))
            found = google.answers.get(self.path.partition("?")[0].rpartition("/")[2])
            answer = json.dumps(found or NOT_FOUND).encode()
            self.answer(200 if found else 404, answer, Content_Type="application/json")

        do_PUT = do_PATCH = do_DELETE = Quiet.do_GET  # noqa: N815  http.server's names

    with served(Handler) as address:
        proxy = {"TYPE": "http", "ADDRESS": "127.0.0.1", "PORT": address.rpartition(":")[2]}
        google.environ |= {f"CLOUDSDK_PROXY_{name}": value for name, value in proxy.items()}
        yield google


# --- command lines -------------------------------------------------------------------------------

AT_ONCE = 2  # each takes a second of a CPU
FRONTENDS = f"serviceAccount:{RUN_ACCOUNT}"
UNDERSTOOD = "nothing is there|not be found|not found|404|not supported when creating a new service"
# What these ask, this machine's own files answer; and what says that they got so far.
OFFLINE = {"gcloud auth list": "", "gcloud auth print-identity-token": "credential"}
# Flags in gcloud's own language, which it reads when it has something to show.
EXPRESSION = re.compile(r"--(filter|flatten|format|sort-by)=")
COMMAND = re.compile(
    r"gcloud(?: [a-z-]+)*? (?:describe|list|create|delete|rm|enable|deploy|submit|log|version"
    r"|get-value|print-identity-token|set-cleanup-policies|update-traffic|\w+-iam-policy[a-z-]*)\b"
)
LISTS_SOMETHING = ("gcloud", "config", "configurations", "list")
MAKES_SOMETHING = ["gcloud", "config", "configurations", "create", "something"]


def command_lines(root: Path) -> list[Line]:
    """Return the command lines of gcloud that the transcripts show."""
    text = "".join(map(expected, SCENARIOS)).replace("\\\n", "").replace("ROOT", str(root))
    return [shlex.split(line) for line in re.findall("^gcloud (?!is ).*", text, re.M)]


def flags(line: Line) -> set[str]:
    """Return the flags of a command line, each with its command, and the command alone."""
    command = COMMAND.match(" ".join(line))
    assert command, line
    return {command[0]} | {command[0] + word.split("=")[0] for word in line if word[:2] == "--"}


def shapes(line: Line) -> set[str]:
    """Return the expressions of a command line without the names in them."""
    return {re.sub(r"[\w.-]+", "x", word) for word in line if EXPRESSION.match(word)}


def some_with_all(lines: list[Line], parts: Callable[[Line], set[str]]) -> Iterator[Line]:
    """Yield lines that have between them every part of all."""
    seen: set[str] = set()
    for line in lines:
        if parts(line) - seen:
            seen |= parts(line)
            yield line


def test_gcloud_understands_every_kind_of_command_line_but_a_wrong_one(
    google: Google, root: Path
) -> None:
    wrong = ["gcloud", "run", "services", "list", "--project=p", "--regoin=europe-west1"]
    every = command_lines(root)
    with_expressions = (filter(EXPRESSION.match, line) for line in some_with_all(every, shapes))
    lines = [*some_with_all(every, flags), wrong]
    lines += [[*LISTS_SOMETHING, *words] for words in with_expressions]
    assert len(lines) > 40
    assert google.run(MAKES_SOMETHING).returncode == 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(google.run, lines))
    complaints = [
        f"{shlex.join(line)}\n{end.stderr}"
        for line, end in zip(lines, ends, strict=True)
        if end.returncode and not re.search(OFFLINE.get(" ".join(line[:3]), UNDERSTOOD), end.stderr)
    ]
    assert [said for said in complaints if "--regoin" not in said] == []
    assert complaints


# In the place of gcloud: says on standard error what the real one does not understand.
IN_BETWEEN = r"""
gcloud() {
  local said
  said=$(command gcloud "$@" 2>&1 >/dev/null) ||
    grep -qE "$UNDERSTOOD" <<<"$said" || echo "$said" >&2
  printf my-value
}
"""


@pytest.mark.parametrize("heading", ["As documents", "From a repository"])
def test_gcloud_understands_what_a_section_shows(heading: str, google: Google, root: Path) -> None:
    commands = section(root, heading, "docs/deploying.md").commands
    script = "\n".join([f"cd '{root}'", IN_BETWEEN, *commands, "gcloud run services lits"])
    ended = google.run(
        ["bash", "-uc", script], UNDERSTOOD=UNDERSTOOD, CLOUDSDK_CORE_PROJECT=PROJECT
    )
    assert re.findall(r"ERROR: .*", ended.stderr) == [
        "ERROR: (gcloud.run.services) Invalid choice: 'lits'."
    ], ended.stderr


@pytest.mark.parametrize(
    ("annotations", "members", "callers"),
    [
        ({}, ["allUsers", FRONTENDS], "everyone"),
        ({}, [FRONTENDS], "frontends"),
        ({"run.googleapis.com/invoker-iam-disabled": "true"}, [FRONTENDS], "everyone"),
        ({"run.googleapis.com/iap-enabled": "true"}, ["allUsers"], "iap"),
    ],
)
def test_who_may_call_is_read_from_what_cloud_run_says(
    annotations: dict[str, str], members: list[str], callers: str, google: Google, root: Path
) -> None:
    metadata = {"name": "backend-v1", "namespace": PROJECT, "annotations": annotations}
    kind = {"apiVersion": "serving.knative.dev/v1", "metadata": {}}
    service = {**kind, "kind": "Service", "metadata": metadata}
    invokers = {"role": "roles/run.invoker", "members": members}
    viewers = {"role": "roles/run.viewer", "members": ["allUsers"]}
    google.answers = {
        "services": {**kind, "kind": "ServiceList", "items": [service]},
        "backend-v1:getIamPolicy": {"bindings": [invokers, viewers], "etag": "BwY="},
    }
    bash = ["bash", "-euc", 'source "$0"; settle; callers_of backend-v1']
    ended = google.run([*bash, str(root / "deployment" / "lib.sh")], PROJECT_ID=PROJECT)
    assert (ended.returncode, ended.stdout) == (0, callers), ended.stderr


# --- documents -----------------------------------------------------------------------------------

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
# Those that between them have every line of the template.
SERVICES = ("backend_v2", "frontend_v1", "v3_backend", "v3_gateway")


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
    elif tree != "" and not path.endswith(OF_GCLOUD):
        yield path, str(tree).lower()  # 'True' and 'true' are the same


def asked_of_google(line: Line, google: Google, stdin: str = "") -> set[tuple[str, str]]:
    """Return what the real gcloud asks Cloud Run to keep, without what is gcloud's own."""
    google.sent.clear()
    ended = google.run(line, stdin)
    services = [sent for sent in google.sent if sent.get("kind") == "Service"]
    assert len(services) == 1, ended.stderr
    return set(leaves(services[0]))


@pytest.mark.parametrize("name", SERVICES)
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


# --- what a build is sent ------------------------------------------------------------------------

FOLDERS = {
    *(".streamlit", "imgserve", "requirements", "v3"),
    *("backend_v1", "backend_v2", "frontend_v1", "frontend_v2"),
}
FOR_READERS = {"frontend_v1/screenshot.png"}  # of a listed folder, and yet in no image
TEMPTATIONS = (
    *(".env", ".git/config", "key.json", "v3/gateway/.env"),
    *("tests/unit/picture.png", "backend_v1.png", "imgserve_old/app.py", "build/imgserve/app.py"),
    *(".mypy_cache/a.json", "imgserve/.ruff_cache/a", "v3/backend/.pytest_cache/README.md"),
    *("imgserve/__pycache__/log.cpython-311.pyc", "v3/gateway/__pycache__/a", "imgserve/log.pyc"),
    *("tools/rehearsal/__main__.py", "deployment/__pycache__/a.pyc", "deployment/key.json"),
    *("node_modules/imgserve/a.js", "docs/v3/a.md", "weights/resnet152.pt", ".coverage"),
)


def test_cloud_build_is_sent_what_images_are_made_of_whatever_else_is_there(
    root: Path, repository_files: list[Path], tmp_path: Path, google: Google
) -> None:
    wanted = {
        path.as_posix()
        for path in repository_files
        if path.parts[0] in FOLDERS or path.match("deployment/Dockerfile.*")
    } - FOR_READERS
    folder = tmp_path / "my code"
    copy_source(root, folder)
    for name in (*TEMPTATIONS, "../environment/bin/python"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("tempting")
    (folder / ".venv").symlink_to(tmp_path / "environment")  # as in a rehearsal's shell
    listed = google.run(["gcloud", "meta", "list-files-for-upload", str(folder)]).stdout
    assert set(listed.splitlines()) == wanted | {".dockerignore"}
