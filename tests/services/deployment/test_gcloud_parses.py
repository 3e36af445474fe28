"""The real gcloud understands every kind of command line of the transcripts.

It gets as far as asking Google, where a server of this machine's says that nothing is there.
"""

import http.server
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conventions.documents import section
from tests.services.deployment.project import PROJECT, RUN_ACCOUNT
from tests.services.deployment.real_gcloud import ANSWERS, run
from tests.services.deployment.scenarios import FOLDER

AT_ONCE = 2  # each takes a second of a CPU
FRONTENDS = f"serviceAccount:{RUN_ACCOUNT}"
LIST = {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": {}}
UNDERSTOOD = "nothing is there|not be found|not found|404|not supported when creating a new service"
# What these ask, this machine's own files answer; and what says that they got so far.
OFFLINE = {"gcloud auth list": "", "gcloud auth print-identity-token": "credential"}
# Flags in gcloud's own language, which it reads when it has something to show.
EXPRESSION = re.compile(r"--(filter|flatten|format|sort-by)=")
LISTS_SOMETHING = ("gcloud", "config", "configurations", "list")


def command_lines(root: Path) -> Iterator[list[str]]:
    """Yield the command lines of gcloud that the transcripts show."""
    for path in sorted(FOLDER.iterdir()):
        text = path.read_text().replace("\\\n", "").replace("ROOT", str(root))
        lines = (line for line in text.splitlines() if line.startswith("gcloud "))
        yield from (shlex.split(line) for line in lines if not line.startswith("gcloud is "))


def kinds(lines: Iterator[list[str]]) -> list[list[str]]:
    """Return one of each kind: those with the same verb and flags are of one."""
    found: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        verb = line[:3] if "deploy" in line[2:3] else line[:4]
        flags = (word.split("=")[0] for word in line if word.startswith("--"))
        found.setdefault((*verb, *flags), line)
    return list(found.values())


def expressions(lines: Iterator[list[str]]) -> list[list[str]]:
    """Return command lines with the same expressions, of something that this machine can show."""
    found: dict[str, list[str]] = {}
    for line in lines:
        words = [word for word in line if EXPRESSION.match(word)]
        found.setdefault(re.sub(r"[a-z0-9]+(-[a-z0-9]+)+", "NAME", " ".join(words)), words)
    return [[*LISTS_SOMETHING, *words] for words in found.values() if words]


def complaint(gcloud: str, port: int, folder: Path, line: list[str]) -> str:
    """Return what the real gcloud does not understand of a command line, if anything."""
    ended = run([gcloud, *line[1:]], port, folder)
    said = OFFLINE.get(" ".join(line[:3]), UNDERSTOOD)
    if ended.returncode == 0 or re.search(said, ended.stderr):
        return ""
    return f"{shlex.join(line)}\n{ended.stderr}"


def complaints(
    gcloud: str, google: http.server.ThreadingHTTPServer, folder: Path, lines: list[list[str]]
) -> list[str]:
    """Return what the real gcloud does not understand of command lines, a few at a time."""
    made = ["gcloud", "config", "configurations", "create", "something"]
    assert complaint(gcloud, google.server_port, folder, made) == ""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(partial(complaint, gcloud, google.server_port, folder), lines)
        return [each for each in found if each]


def test_gcloud_understands_every_kind_of_command_line(
    gcloud: str, google: http.server.ThreadingHTTPServer, root: Path, tmp_path: Path
) -> None:
    lines = [*kinds(command_lines(root)), *expressions(command_lines(root))]
    assert len(lines) > 40
    assert "\n".join(complaints(gcloud, google, tmp_path, lines)) == ""


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
def test_gcloud_understands_what_a_section_shows(
    heading: str, gcloud: str, google: http.server.ThreadingHTTPServer, root: Path, tmp_path: Path
) -> None:
    commands = section(root, heading, "docs/deploying.md").commands
    script = "\n".join([f"cd '{root}'", IN_BETWEEN, *commands, "gcloud run services lits"])
    told = {"UNDERSTOOD": UNDERSTOOD, "CLOUDSDK_CORE_PROJECT": PROJECT}
    ended = run(["bash", "-uc", script], google.server_port, tmp_path, **told)
    assert re.findall(r"ERROR: .*", ended.stderr) == [
        "ERROR: (gcloud.run.services) Invalid choice: 'lits'."
    ], ended.stderr


WRONG = {
    "flag": ["gcloud", "run", "services", "list", "--project=p", "--regoin=europe-west1"],
    "value": [*("gcloud", "run", "deploy", "s", "--image=i", "--project=p"), "--max-instances=x"],
    "expression": [*LISTS_SOMETHING, "--filter=a = ("],
}


def test_gcloud_does_not_understand_what_is_wrong(
    gcloud: str, google: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    """Else the test above could not fail."""
    assert len(complaints(gcloud, google, tmp_path, list(WRONG.values()))) == len(WRONG)


@pytest.mark.parametrize(
    ("annotations", "members", "callers"),
    [
        ({}, ["allUsers", FRONTENDS], "everyone"),
        ({}, [FRONTENDS], "frontends"),
        ({}, ["user:me@example.com"], "others"),
        ({"run.googleapis.com/invoker-iam-disabled": "true"}, [FRONTENDS], "everyone"),
        ({"run.googleapis.com/iap-enabled": "true"}, ["allUsers"], "iap"),
    ],
)
def test_who_may_call_is_read_from_what_cloud_run_says(
    annotations: dict[str, str],
    members: list[str],
    callers: str,
    google: http.server.ThreadingHTTPServer,
    gcloud: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "backend-v1", "namespace": PROJECT, "annotations": annotations},
    }
    bindings = [
        {"role": "roles/run.invoker", "members": members},
        {"role": "roles/run.viewer", "members": ["allUsers"]},
    ]
    monkeypatch.setitem(ANSWERS, "services", {**LIST, "items": [service]})
    monkeypatch.setitem(ANSWERS, "backend-v1:getIamPolicy", {"bindings": bindings, "etag": "BwY="})
    bash = ["bash", "-euc", 'source "$0"; settle; callers_of backend-v1']
    command = [*bash, str(root / "deployment" / "lib.sh")]
    ended = run(command, google.server_port, tmp_path, PROJECT_ID=PROJECT)
    assert (ended.returncode, ended.stdout) == (0, callers), ended.stderr
