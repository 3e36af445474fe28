"""Each command that a document shows is run by a test, or needs a Google account and says so."""

import re
from pathlib import Path

import pytest

from tests.conventions.documents import Section, sections, split

README_TEST = "tests/services/test_readme_commands.py"
MAKE_TEST = "tests/services/test_make_run.py"
OWN_MODEL_TEST = "tests/services/test_own_model.py"
DEPLOYMENT = "tests/services/deployment"
CI = ".ci/run"  # what CI itself runs, word by word
ACCOUNT = "Google account"
GCLOUD_TEST = f"{DEPLOYMENT}/test_real_gcloud.py::test_gcloud_understands_what_a_section_shows"
# Section of commands that need something, to the test that runs them as far as they go without.
SECTIONS = {
    "As documents": (ACCOUNT, GCLOUD_TEST),
    "From a repository": (ACCOUNT, GCLOUD_TEST),
    "On Kubernetes": (
        "a cluster",
        f"{DEPLOYMENT}/test_kubernetes.py::test_the_documented_command_names_the_registry",
    ),
}
# What a command is, all of it, to the test that runs it.
RUN_BY = {
    r"make": f"{README_TEST}::test_make_lists_what_it_can_do",
    r"make readme": f"{README_TEST}::test_what_make_writes_is_already_written",
    r"make format": f"{README_TEST}::test_make_format_rewrites_what_make_lint_checks",
    r'make test ARGS=(tests/conventions|"tests/unit/test_catalogue.py -k unknown")': (
        f"{README_TEST}::test_make_test_takes_arguments"
    ),
    r"make run( ALLOWED_ADDRESSES=127.0.0.1/32)?": (
        f"{MAKE_TEST}::test_run_answers_for_every_model_and_its_command_works"
    ),
    r"make run MODEL_NAME=resnet152": (
        f"{MAKE_TEST}::test_v1_whose_model_cannot_be_loaded_says_why_once_and_ends"
    ),
    r"make run VERSION=v2( MODELS=efficientnet_lite0,resnet152)?": (
        f"{MAKE_TEST}::test_run_answers_for_every_model_and_its_command_works"
    ),
    r"make screenshot": "tests/services/test_frontend_v1.py::test_a_picture_of_the_page_is_taken",
    r"(MODELS_FILE=digits/models.toml )?.venv/bin/python -m [a-z.]+ digits( digits/held_out)?": (
        f"{OWN_MODEL_TEST}::test_what_it_learned_is_right_about_pictures_it_has_not_seen"
    ),
    r"make run MODELS_FILE=digits/models.toml MODEL_NAME=digits|make run MODEL_NAME=pets.*"
    r"|.venv/bin/python -m imgserve.[a-z]+ pets.*": (
        f"{OWN_MODEL_TEST}::test_commands_for_another_model_are_those_of_the_example"
    ),
    r".venv/bin/pre-commit install": f"{README_TEST}::test_pre_commit_takes_its_file",
    r"curl .*": f"{README_TEST}::test_curl_line_of_the_readme_is_answered",
    r"deployment/check.sh --deliverables": (
        f"{README_TEST}::test_check_of_the_deliverables_runs_as_it_is_shown"
    ),
}
# What needs a Google account, to the test that runs it against stand-ins, if any does.
GOOGLE = {
    r"([A-Z_]+=\S+ )?deployment/[a-z_0-9]+\.sh( backend_v1)?|export MODELS=\S+": (
        f"{DEPLOYMENT}/test_transcripts.py::test_script_does_what_its_transcript_says"
    ),
    r"BACKENDS=\S+ .venv/bin/python -m v3.gateway openapi --private >gateway.json": (
        "tests/unit/test_gateway.py::test_document_of_google_is_valid_and_leads_to_every_backend"
    ),
    r"gcloud (auth login|config set project YOUR-PROJECT|api-gateway .*)": None,
    r"project=\$\(gcloud config get-value project\)": None,
}
SCRIPT = r"\bdeployment/[a-z_0-9]+\.sh"


def fits(command: str, patterns: dict[str, str] | dict[str, str | None]) -> bool:
    """Return whether a pattern describes all of a command."""
    return any(re.fullmatch(pattern, command) for pattern in patterns)


@pytest.fixture(scope="module")
def shown(root: Path) -> list[tuple[str, Section]]:
    """Return every command of the documents, with the section that it stands in."""
    return [(command, section) for section in sections(root) for command in section.commands]


def test_every_command_has_a_test_or_needs_an_account(
    shown: list[tuple[str, Section]], root: Path
) -> None:
    ci = [f"{line} " for line in (root / CI).read_text().splitlines()]
    unknown = {
        f"{section.document}: {command}"
        for command, section in shown
        if not fits(command, RUN_BY)
        and not any(line.startswith(f"{command} ") for line in ci)
        and not fits(command, GOOGLE)
        and section.heading not in SECTIONS
    }
    assert unknown == set()


def test_what_needs_an_account_or_a_cluster_is_said_to_need_it(
    shown: list[tuple[str, Section]],
) -> None:
    silent = set()
    for command, section in shown:
        need, _ = SECTIONS.get(section.heading, ("", ""))
        if not need and fits(command, GOOGLE) and not fits(command, RUN_BY):
            need = ACCOUNT
        if need not in " ".join(section.text.split()):
            silent.add(f"{section.document}, {section.heading}: {command}")
    assert silent == set()


def test_no_entry_is_left_of_a_command_that_is_gone(shown: list[tuple[str, Section]]) -> None:
    gone = [
        pattern
        for pattern in (*RUN_BY, *GOOGLE)
        if not any(re.fullmatch(pattern, command) for command, _ in shown)
    ]
    assert gone == []
    assert SECTIONS.keys() - {section.heading for _, section in shown} == set()


def test_every_script_that_is_shown_has_a_transcript(
    shown: list[tuple[str, Section]], root: Path
) -> None:
    folder = root / DEPLOYMENT / "transcripts"
    run = {path.read_text().partition("\n")[0] for path in folder.iterdir()}
    scripts = {script for command, _ in shown for script in re.findall(SCRIPT, command)}
    assert scripts
    assert scripts - {script for line in run for script in re.findall(SCRIPT, line)} == set()


NAMED = {*RUN_BY.values(), *filter(None, GOOGLE.values()), *(test for _, test in SECTIONS.values())}


@pytest.mark.parametrize("test", sorted(NAMED))
def test_the_test_that_is_named_exists(test: str, root: Path) -> None:
    path, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (root / path).read_text(), re.MULTILINE)


def test_sections_end_at_headings_and_not_at_comments_in_code() -> None:
    text = "# One\n```sh\n# no heading\na\n```\n## Two\n   ```sh\n   b && c\n   ```\n"
    found = [(section.heading, section.commands) for section in split(text, "X.md")]
    assert found == [("One", ["a"]), ("Two", ["b", "c"])]
