"""Each script's exact calls, in order, and what it says and records; or where it stops."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.deployment.project import Project, git
from tests.services.deployment.scenarios import ANSWERS, SCENARIOS, expected, run, transcript

# Together every line of the scripts, but for check.sh, which looks on whatever fails.
STOPPING = (
    *("submit_backend_v1", "submit_v3_backend", "deploy_backend_v1_first", "deploy_frontend_v1"),
    *("deploy_backend_v2_becomes_private", "deploy_backend_v2_becomes_public"),
    *("deploy_v3_gateway", "deploy_v3_backend", "rollback_backend_v1"),
    *("setup", "teardown"),
)
FAILURES = [name for name in SCENARIOS if "\n# exit status 1\n" in expected(name)]
# What curl had in 2017: https://curl.se/docs/manpage.html
OLD_OPTIONS = {"--silent", "--show-error", "--max-time", "--write-out", "--header", "--form"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_script_does_what_its_transcript_says(name: str, project: Project) -> None:
    assert transcript(name, project) == expected(name)
    changed = git(project.root, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert changed in ([], [" M deliverables.yaml"])


def test_every_answer_is_of_a_scenario_that_has_a_transcript() -> None:
    assert set(ANSWERS) <= set(SCENARIOS)


@pytest.mark.parametrize("name", [name for name in FAILURES if "second" not in name])
def test_script_that_fails_moves_no_traffic_leaves_no_tag_and_records_nothing(name: str) -> None:
    text = expected(name)
    assert "--to-" not in text
    assert bool(re.search("--(update-)?tags?=try-TAG", text)) == ("--remove-tags=try-TAG" in text)
    assert text.endswith("# standard output\n\n# deliverables.yaml\n\n# exit status 1\n")


def test_region_repository_and_registry_are_those_that_are_given() -> None:
    texts = [expected(name) for name in SCENARIOS if name.endswith("_elsewhere")]
    assert len(texts) == 4
    assert [text for text in texts if "northamerica" in text or "my-project/imgserve" in text] == []


def test_curl_has_only_options_that_old_ones_know_and_no_token() -> None:
    lines = re.findall(r"^curl (.*) <<<", "\n".join(map(expected, SCENARIOS)), re.M)
    words = {word for line in lines for word in shlex.split(line)}
    assert {word for word in words if word.startswith("--")} - {"--version"} == OLD_OPTIONS
    assert not [word for word in words if "the-token" in word]


def failures(calls: list[list[str]]) -> Iterator[tuple[int, tuple[str, ...], dict[str, Any]]]:
    """Yield each way in which calls may fail: the number of the first, which those are, and how."""
    asked = set()
    for number, call in enumerate(calls):
        if call[0] == "curl" and call[-1] not in asked:
            asked.add(call[-1])
            for wrong in ({"status": 302}, {"says": "wrong"}):
                yield number, ("curl", call[-1]), wrong
        # A person's account cannot name an audience.
        if call[0] == "gcloud" and "print-identity-token" not in call:
            before = sum(one[0] == "gcloud" for one in calls[:number])
            complains = "ERROR: (gcloud) as it was told\n"
            yield number, ("gcloud",), {"call": before, "status": 1, "complains": complains}


def only_tidies_up(call: list[str]) -> bool:
    """Return whether a call asks what serves and who may call, or removes a tag and no more."""
    changes = [word for word in call if word.startswith(("--to-", "--update-"))]
    return bool({"list", "get-iam-policy", "update-traffic"} & set(call)) and not changes


@pytest.mark.parametrize("name", STOPPING)
def test_call_that_fails_stops_the_script_and_nothing_is_recorded(
    name: str, project: Project
) -> None:
    one = {"MODELS": "swin_b"} if "MODELS=" in expected(name) else {}
    deliverables = project.root / "deliverables.yaml"
    before = deliverables.read_text()
    assert run(name, project, **one).returncode == 0
    usual = [call.argv for call in project.record()]
    for number, which, how in failures(usual):
        deliverables.write_text(before)
        project.forget()
        result = run(name, project, {which: how}, **one)
        assert (result.returncode != 0, result.stdout) == (True, ""), (which, how)
        calls = [call.argv for call in project.record()]
        assert calls[: number + 1] == usual[: number + 1]
        later = [call for call in calls[number + 1 :] if call != ["curl", *usual[number][1:]]]
        assert [call for call in later if not only_tidies_up(call)] == []
        assert deliverables.read_text() == before
