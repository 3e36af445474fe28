"""Each command that a document shows is run by a test, or needs a Google account and says so."""

import re
from pathlib import Path

import pytest

from tests.conventions.documents import Section, commands, sections, split

OWN_MODEL_TEST = "tests/services/test_own_model.py"
OWN_MODELS_FILE = "MODELS_FILE=digits/models.toml"
README_TEST = "tests/services/test_readme_commands.py"
DEPLOYMENT = "tests/services/deployment"
CI = ".ci/run"  # what CI itself runs, word by word
ACCOUNT = "Google account"
GCLOUD_TEST = f"{DEPLOYMENT}/test_gcloud_parses.py::test_gcloud_understands_what_a_section_shows"
# Section of commands that need something, to the test that runs them as far as they go without.
SECTIONS = {
    "As documents": (ACCOUNT, GCLOUD_TEST),
    "From a repository": (ACCOUNT, GCLOUD_TEST),
    "On Kubernetes": (
        "a cluster",
        f"{DEPLOYMENT}/test_kubernetes.py::test_the_documented_command_names_the_registry",
    ),
}

# Test, or what CI itself runs, to the commands that it runs, or what they are made of.
RUN_BY = {
    f"{README_TEST}::test_make_lists_what_it_can_do": ["make"],
    f"{README_TEST}::test_what_make_writes_is_already_written": ["make readme"],
    CI: [
        "make attack",
        "make attack ARGS=--quick",
        "make bench QUICK=1",
        "make check",
        "make lock",
        "make rehearse",
        "make rehearse-shell",
        "make test",
        "make test FULL=1",
    ],
    f"{README_TEST}::test_make_format_rewrites_what_make_lint_checks": ["make format"],
    f"{README_TEST}::test_make_run_answers_the_command_that_it_shows": [
        "make run",
        "make run ALLOWED_ADDRESSES=127.0.0.1/32",
    ],
    (
        "tests/services/test_make_run.py"
        "::test_v1_whose_model_cannot_be_loaded_says_why_once_and_ends"
    ): ["make run MODEL_NAME=resnet152"],
    ("tests/services/test_make_run.py::test_run_answers_for_every_model_and_its_command_works"): [
        "make run VERSION=v2",
        "make run VERSION=v2 MODELS=efficientnet_lite0,resnet152",
    ],
    ("tests/services/test_screenshot.py::test_the_picture_is_taken_of_a_page_that_answers"): [
        "make screenshot"
    ],
    f"{README_TEST}::test_make_test_takes_arguments": [
        "make test ARGS=tests/conventions",
        'make test ARGS="tests/unit/test_catalogue.py -k unknown"',
    ],
    f"{OWN_MODEL_TEST}::test_what_it_learned_is_right_about_pictures_it_has_not_seen": [
        ".venv/bin/python -m examples.digits digits",
        f"{OWN_MODELS_FILE} .venv/bin/python -m imgserve.compile digits",
        f"{OWN_MODELS_FILE} .venv/bin/python -m imgserve.evaluate digits digits/held_out",
    ],
    f"{OWN_MODEL_TEST}::test_commands_for_another_model_are_those_of_the_example": [
        ".venv/bin/python -m imgserve.compile pets",
        ".venv/bin/python -m imgserve.evaluate pets held_out",
        "make run MODEL_NAME=pets",
        ".venv/bin/python -m imgserve.compile pets --precision int8 --photos held_out",
        "make run MODEL_NAME=pets PRECISION=int8",
        "make run MODELS_FILE=digits/models.toml MODEL_NAME=digits",
    ],
    f"{README_TEST}::test_pre_commit_takes_its_file": [".venv/bin/pre-commit install"],
    f"{README_TEST}::test_check_of_the_deliverables_runs_as_it_is_shown": [
        "deployment/check.sh --deliverables"
    ],
}
RUN = {command: test for test, ran in RUN_BY.items() for command in ran}
# Lines that start so, whatever follows: the test runs each of them as it stands.
RUN_BY_START = {"curl ": f"{README_TEST}::test_curl_line_of_the_readme_is_answered"}

BUILT_AND_DEPLOYED = ("backend_v1", "frontend_v1", "v3_backend", "v3_gateway", "v3_frontend")
# Command that needs a Google account, to the test that runs it against stand-ins, if any does.
GOOGLE = {
    **dict.fromkeys(
        (
            *("deployment/check.sh", "deployment/setup.sh", "deployment/teardown.sh"),
            *(f"deployment/submit_build_{name}.sh" for name in BUILT_AND_DEPLOYED),
            *(f"deployment/deploy_{name}.sh" for name in BUILT_AND_DEPLOYED),
            *("deployment/rollback.sh backend_v1", "TAG=BUILD-ID deployment/deploy_backend_v1.sh"),
            "API_GATEWAY=https://... deployment/deploy_v3_frontend.sh",
            "MODEL_NAME=pets deployment/submit_build_backend_v1.sh",
            "PAGE_TITLE=Pets deployment/deploy_frontend_v1.sh",
            "PRIVATE=1 deployment/deploy_backend_v1.sh",
            "PRIVATE=1 deployment/deploy_v3_backend.sh",
            "export MODELS=efficientnet_lite0,resnet152",
        ),
        f"{DEPLOYMENT}/test_transcripts.py::test_script_does_what_its_transcript_says",
    ),
    "BACKENDS=efficientnet_lite0=https://...,resnet152=https://..."
    " .venv/bin/python -m v3.gateway openapi --private >gateway.json": (
        "tests/unit/test_gateway_openapi.py::test_private_backends_get_a_token_for_their_root"
    ),
    "gcloud auth login": None,
    "gcloud config set project YOUR-PROJECT": None,
    "project=$(gcloud config get-value project)": None,
    "gcloud api-gateway api-configs create imgserve --api=imgserve --openapi-spec=gateway.json"
    ' --backend-auth-service-account="imgserve-run@$project.iam.gserviceaccount.com"': None,
    "gcloud api-gateway gateways create imgserve --api=imgserve --api-config=imgserve"
    " --location=us-east4": None,
}


def runner(command: str) -> str | None:
    """Return who runs a command that needs no account; None where nobody is named."""
    started = (test for start, test in RUN_BY_START.items() if command.startswith(start))
    return RUN.get(command) or next(started, None)


def needed(command: str, section: Section) -> str:
    """Return what a command needs that not everybody has; nothing where that is nothing."""
    there, _ = SECTIONS.get(section.heading, ("", ""))
    return there or (ACCOUNT if command in GOOGLE else "")


@pytest.fixture(scope="module")
def shown(root: Path) -> list[tuple[str, Section]]:
    """Return every command of the documents, with the section that it stands in."""
    return [(command, section) for section in sections(root) for command in section.commands]


def test_every_command_has_a_test_or_needs_an_account(shown: list[tuple[str, Section]]) -> None:
    unknown = {
        f"{section.document}: {command}"
        for command, section in shown
        if not runner(command) and command not in GOOGLE and section.heading not in SECTIONS
    }
    assert unknown == set()


def test_what_needs_an_account_or_a_cluster_is_said_to_need_it(
    shown: list[tuple[str, Section]],
) -> None:
    silent = {
        f"{section.document}, {section.heading}: {command}"
        for command, section in shown
        if command in GOOGLE and ACCOUNT not in " ".join(section.text.split())
    }
    needs = {section: SECTIONS.get(section.heading, ("", ""))[0] for _, section in shown}
    assert (
        silent == {part.heading for part, need in needs.items() if need not in part.text} == set()
    )


def test_no_entry_is_left_of_a_command_that_is_gone(shown: list[tuple[str, Section]]) -> None:
    there = {command for command, _ in shown}
    assert {*RUN, *GOOGLE} - there == set()
    assert SECTIONS.keys() - {section.heading for _, section in shown} == set()
    assert [start for start in RUN_BY_START if not any(c.startswith(start) for c in there)] == []


NAMED = {*RUN.values(), *RUN_BY_START.values(), *filter(None, GOOGLE.values())}
TESTS = sorted((NAMED | {test for _, test in SECTIONS.values()}) - {CI})


@pytest.mark.parametrize("test", TESTS)
def test_the_test_that_is_named_exists(test: str, root: Path) -> None:
    path, _, name = test.partition("::")
    definition = rf"^def {name}\(" if name else "^def test_"
    assert re.search(definition, (root / path).read_text(), re.MULTILINE)


def test_ci_runs_what_it_is_said_to_run(root: Path) -> None:
    lines = [f"{line} " for line in (root / CI).read_text().splitlines()]
    said = [command for command, who in RUN.items() if who == CI]
    silent = [word for word in said if not any(line.startswith(f"{word} ") for line in lines)]
    assert silent == []


def test_commands_are_read_without_comments_one_by_one() -> None:
    block = "# why\na --x=1   # what\nb 'c#d' && e \\\n    --long\n\n"
    assert commands(block) == ["a --x=1", "b 'c#d'", "e --long"]


def test_sections_end_at_headings_and_not_at_comments_in_code() -> None:
    text = "# One\n```sh\n# no heading\na\n```\n## Two\n   ```sh\n   b && c\n   ```\n"
    found = list(split(text, "X.md"))
    assert [(section.heading, section.commands) for section in found] == [
        ("One", ["a"]),
        ("Two", ["b", "c"]),
    ]
