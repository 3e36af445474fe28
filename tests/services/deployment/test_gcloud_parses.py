"""The real gcloud understands every kind of command line of the transcripts.

It gets as far as asking Google, where a server of this machine's says that nothing is there.
"""

import re
import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conventions.documents import section
from tests.services.deployment.project import PROJECT, RUN_ACCOUNT
from tests.services.deployment.real_gcloud import Google
from tests.services.deployment.scenarios import SCENARIOS, expected

AT_ONCE = 2  # each takes a second of a CPU
FRONTENDS = f"serviceAccount:{RUN_ACCOUNT}"
UNDERSTOOD = "nothing is there|not be found|not found|404|not supported when creating a new service"
# What these ask, this machine's own files answer; and what says that they got so far.
OFFLINE = {"gcloud auth list": "", "gcloud auth print-identity-token": "credential"}
# Flags in gcloud's own language, which it reads when it has something to show.
EXPRESSION = re.compile(r"--(filter|flatten|format|sort-by)=")
LISTS_SOMETHING = ("gcloud", "config", "configurations", "list")
MAKES_SOMETHING = ["gcloud", "config", "configurations", "create", "something"]


def command_lines(root: Path) -> list[list[str]]:
    """Return the command lines of gcloud that the transcripts show."""
    text = "".join(map(expected, SCENARIOS)).replace("\\\n", "").replace("ROOT", str(root))
    return [shlex.split(line) for line in re.findall("^gcloud (?!is ).*", text, re.M)]


def kinds(lines: list[list[str]]) -> list[list[str]]:
    """Return one of each kind: those with the same verb and flags are of one."""
    found: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        verb = line[:3] if "deploy" in line[2:3] else line[:4]
        flags = (word.split("=")[0] for word in line if word.startswith("--"))
        found.setdefault((*verb, *flags), line)
    return list(found.values())


def expressions(lines: list[list[str]]) -> list[list[str]]:
    """Return command lines with the same expressions, of something that this machine can show."""
    found: dict[str, list[str]] = {}
    for line in lines:
        words = [word for word in line if EXPRESSION.match(word)]
        found.setdefault(re.sub(r"[a-z0-9]+(-[a-z0-9]+)+", "NAME", " ".join(words)), words)
    return [[*LISTS_SOMETHING, *words] for words in found.values() if words]


def complaints(google: Google, lines: Iterable[list[str]]) -> list[str]:
    """Return what the real gcloud does not understand of command lines, a few at a time."""
    assert google.run(MAKES_SOMETHING).returncode == 0

    def complaint(line: list[str]) -> str:
        ended = google.run(line)
        said = OFFLINE.get(" ".join(line[:3]), UNDERSTOOD)
        is_well = ended.returncode == 0 or re.search(said, ended.stderr)
        return "" if is_well else f"{shlex.join(line)}\n{ended.stderr}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [said for said in pool.map(complaint, lines) if said]


def test_gcloud_understands_every_kind_of_command_line(google: Google, root: Path) -> None:
    lines = [*kinds(command_lines(root)), *expressions(command_lines(root))]
    assert len(lines) > 40
    assert "\n".join(complaints(google, lines)) == ""


def test_gcloud_does_not_understand_what_is_wrong(google: Google) -> None:
    """Else the test above could not fail."""
    flag = ["gcloud", "run", "services", "list", "--project=p", "--regoin=europe-west1"]
    value = [*("gcloud", "run", "deploy", "s", "--image=i", "--project=p"), "--max-instances=x"]
    expression = [*LISTS_SOMETHING, "--filter=a = ("]
    assert len(complaints(google, [flag, value, expression])) == 3


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
        ({}, ["user:me@example.com"], "others"),
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
