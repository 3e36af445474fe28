"""The real gcloud against the rehearsal's server; steps need bash alone, and no docker."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.services.conftest import free_port
from tests.unit.waiting import wait_until
from tools.rehearsal.gcloud import clean_environ, gcloud_environ

PROJECT = "a-project"
REGION = "northamerica-northeast1"
BUCKET = f"gs://{PROJECT}-source"
EMAIL = f"builder@{PROJECT}.iam.gserviceaccount.com"
CALL_S = 60  # gcloud takes one or two
SUBMIT = ("builds", "submit", f"--region={REGION}", f"--gcs-source-staging-dir={BUCKET}/source")
IN_LOGGING = "options: {logging: CLOUD_LOGGING_ONLY}"
FIRST = f"""
steps:
  - id: greet
    name: gcr.io/cloud-builders/docker
    entrypoint: bash
    args: [-c, 'echo $_WORD from $PROJECT_ID; cat file; ls']
  - id: twice
    name: gcr.io/cloud-builders/docker
    entrypoint: bash
    args: [-c, 'X=6; echo $$((X * 7))']
substitutions: {{_WORD: hello}}
serviceAccount: projects/$PROJECT_ID/serviceAccounts/{EMAIL}
{IN_LOGGING}
"""
SLOW = """
steps:
  - {name: docker, entrypoint: bash, args: [-c, 'echo begun; sleep 60']}
"""
LINES = """
steps:
  - {name: docker, entrypoint: bash, args: [-c, 'for i in 1 2; do echo line $$i; sleep 1; done']}
"""

Gcloud = Callable[..., subprocess.CompletedProcess[str]]


class Server:
    """The server as a process of its own, which may be stopped and started again."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root, self.port = folder, root, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        where = ["--folder", str(self.folder), "--port", str(self.port)]
        command = [sys.executable, "-m", "tools.rehearsal.server", *where]
        with (self.folder.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.root, stderr=log)
        wait_until(self._answers)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder.parent / "log").read_text()
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/", timeout=5).status_code == 501
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("rehearsal") / "folder", root)
    made.folder.mkdir()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gcloud(server: Server) -> Gcloud:
    """Return what runs gcloud with these arguments, against the server."""
    command = shutil.which("gcloud")
    if command is None:
        pytest.skip("needs gcloud")
    environ = clean_environ() | gcloud_environ(server.folder, server.port, PROJECT)

    def call(*arguments: str, words: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *arguments],
            check=False,
            env=environ,
            input=words,
            capture_output=True,
            text=True,
            timeout=CALL_S,
        )

    return call


@pytest.fixture(scope="module")
def project(gcloud: Gcloud) -> Gcloud:
    """Return gcloud in a project that is set up for builds."""
    member = f"--member=serviceAccount:{EMAIL}"
    viewer = "--role=roles/storage.objectViewer"
    for arguments in (
        ["services", "enable", "cloudbuild.googleapis.com", "iam.googleapis.com"],
        ["services", "enable", "artifactregistry.googleapis.com", "secretmanager.googleapis.com"],
        ["iam", "service-accounts", "create", "builder", "--display-name=builds"],
        ["storage", "buckets", "create", BUCKET, f"--location={REGION}"],
        ["storage", "buckets", "add-iam-policy-binding", BUCKET, member, viewer],
    ):
        done = gcloud(*arguments)
        assert done.returncode == 0, done.stderr
    return gcloud


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder to submit, with three configurations beside its one file."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "file").write_text("content of the file\n")
    for name, text in (("first", FIRST), ("slow", SLOW), ("lines", LINES)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return folder


def config(source: Path, name: str) -> str:
    """Return the option that names a configuration."""
    return f"--config={source.parent / name}.yaml"


def test_account_is_active_and_has_identity_tokens(gcloud: Gcloud, server: Server) -> None:
    listed = gcloud("auth", "list", "--filter=status:ACTIVE", "--format=value(account)")
    assert listed.stdout.strip() == f"operator@{PROJECT}.iam.gserviceaccount.com"
    token = gcloud("auth", "print-identity-token", "--audiences=https://a.test").stdout.strip()
    claims = requests.get(
        f"http://127.0.0.1:{server.port}/tokeninfo",
        params={"id_token": token},
        headers={"Host": "oauth2.test"},
        timeout=10,
    ).json()
    assert (claims["aud"], claims["email"]) == ("https://a.test", listed.stdout.strip())


def test_build_is_uploaded_run_and_its_log_read(project: Gcloud, source: Path) -> None:
    done = project(*SUBMIT, str(source), config(source, "first"), "--format=value(id,status)")
    name, status = done.stdout.split()
    assert (done.returncode, status) == (0, "SUCCESS"), done.stderr
    log = project("builds", "log", name, f"--region={REGION}").stdout
    assert 'Step #0 - "greet": hello from a-project\n' in log
    assert 'Step #0 - "greet": content of the file\nStep #0 - "greet": file\n' in log
    assert 'Step #1 - "twice": 42\n' in log
    steps = ["--flatten=steps", "--format=value(status,steps.status,steps.id)"]
    shown = project("builds", "describe", name, f"--region={REGION}", *steps).stdout
    assert shown.splitlines() == ["SUCCESS\tSUCCESS\tgreet", "SUCCESS\tSUCCESS\ttwice"]


def test_log_in_a_bucket_is_streamed(project: Gcloud, source: Path) -> None:
    done = project(*SUBMIT, str(source), config(source, "lines"))
    assert done.returncode == 0, done.stderr
    assert "Step #0: line 1\nStep #0: line 2\n" in done.stdout


def test_unused_substitution_is_refused(project: Gcloud, source: Path) -> None:
    done = project(*SUBMIT, str(source), config(source, "slow"), "--substitutions=_A=b")
    assert done.returncode == 1
    assert 'key "_A" in the substitution data is not matched in the template' in done.stderr


def test_build_is_cancelled(project: Gcloud, source: Path) -> None:
    where = f"--region={REGION}"
    done = project(*SUBMIT, str(source), config(source, "slow"), "--async", "--format=value(id)")
    assert project("builds", "cancel", done.stdout.strip(), where).returncode == 0
    shown = project("builds", "list", where, "--filter=status=CANCELLED", "--format=value(id)")
    assert shown.stdout == done.stdout


def test_restarted_server_knows_what_was_and_finds_its_build_failed(
    project: Gcloud, source: Path, server: Server
) -> None:
    done = project(*SUBMIT, str(source), config(source, "slow"), "--async", "--format=value(id)")
    server.stop(signal.SIGKILL)
    server.start()
    where = [f"--region={REGION}", "--format=value(status)"]
    shown = project("builds", "describe", done.stdout.strip(), *where)
    assert shown.stdout.strip() == "INTERNAL_ERROR"
    assert project("storage", "buckets", "describe", BUCKET).returncode == 0


def test_repository_is_made_once_described_and_deleted(project: Gcloud) -> None:
    def repositories(verb: str, *more: str) -> int:
        here = f"--location={REGION}"
        return project("artifacts", "repositories", verb, "r", here, *more).returncode

    assert repositories("describe") == 1
    assert repositories("create", "--repository-format=docker") == 0
    assert repositories("create", "--repository-format=docker") == 1
    writer = [f"--member=serviceAccount:{EMAIL}", "--role=roles/artifactregistry.writer"]
    assert repositories("add-iam-policy-binding", *writer) == 0
    assert repositories("describe") == 0
    assert repositories("delete", "--quiet") == 0
    assert repositories("describe") == 1


def test_secret_is_kept_and_read(project: Gcloud) -> None:
    make = ["--data-file=-", "--replication-policy=automatic"]
    assert project("secrets", "describe", "key").returncode == 1
    assert project("secrets", "create", "key", *make, words="a value").returncode == 0
    assert project("secrets", "create", "key", *make, words="a value").returncode == 1
    read = project("secrets", "versions", "access", "latest", "--secret=key")
    assert read.stdout == "a value"
    assert project("secrets", "delete", "key", "--quiet").returncode == 0


def test_roles_on_the_project_are_added_and_removed(project: Gcloud) -> None:
    role = ["--role=roles/logging.logWriter", "--condition=None", "--format=value(bindings.role)"]

    def binding(verb: str, email: str) -> subprocess.CompletedProcess[str]:
        return project("projects", verb, PROJECT, f"--member=serviceAccount:{email}", *role)

    assert "roles/logging.logWriter" in binding("add-iam-policy-binding", EMAIL).stdout
    assert "roles/logging.logWriter" not in binding("remove-iam-policy-binding", EMAIL).stdout
    assert "does not exist" in binding("add-iam-policy-binding", f"nobody.{EMAIL}").stderr


def test_what_check_asks_is_answered(project: Gcloud) -> None:
    billing = project("billing", "projects", "describe", PROJECT, "--format=value(billingEnabled)")
    assert billing.stdout == "True\n"
    assert project("projects", "describe", "another-project").returncode == 1
    enabled = project("services", "list", "--enabled", "--format=value(config.name)").stdout
    assert "cloudbuild.googleapis.com" in enabled.splitlines()
    assert project("run", "services", "list", f"--region={REGION}").returncode == 1  # not enabled


def test_bucket_is_removed_with_its_objects(project: Gcloud, source: Path) -> None:
    bucket = f"gs://{PROJECT}-removed"
    assert project("storage", "buckets", "create", bucket).returncode == 0
    assert project("storage", "cp", str(source / "file"), f"{bucket}/a/b").returncode == 0
    removed = project("storage", "rm", "--recursive", bucket, "--quiet")
    assert removed.returncode == 0, removed.stderr
    assert project("storage", "buckets", "describe", bucket).returncode == 1


def test_server_stops_when_it_is_told(root: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "folder", root)
    server.folder.mkdir()
    server.start()
    assert server.stop() == 0
