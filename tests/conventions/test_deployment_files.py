"""Every component has its files, and they differ from the templates by what is said here."""

import re
from pathlib import Path

import pytest

from tests.conventions.deployment import (
    BACKENDS,
    BY_NAME,
    COMPONENTS,
    FRONTENDS,
    command,
    flags,
    read,
    values,
)

EVERY = sorted(BY_NAME)
ONE_BUILD = sorted(set(EVERY) - {"v3_backend"})  # which builds one image for each model

# Lines that a submit script has beyond its template's, and what they change in its command.
MODEL_LINE = {
    "backend_v1": (
        "#   MODEL_NAME  the model in the image (default resnet152)\n"
        "#   PRECISION  of the model: fp32 or int8, which is faster (default fp32)\n#\n"
    ),
    "backend_v2": (
        "#   MODELS  the models in the image, separated by commas, the default first"
        " (default: all)\n"
        "#   PRECISION  of the models: fp32 or int8, which is faster (default fp32)\n#\n"
    ),
}
PRECISION = "${PRECISION:+|_PRECISION=$PRECISION}"
MODEL_SUBSTITUTION = {
    "backend_v1": "${MODEL_NAME:+|_MODELS=$MODEL_NAME}" + PRECISION,
    "backend_v2": "${MODELS:+|_MODELS=$MODELS}" + PRECISION,
    "v3_backend": "|_MODELS=$model" + PRECISION,
}

# Flags of `gcloud run deploy` beyond the template's, each with its reason.
FRONTEND_FLAGS = {
    "--session-affinity": "Streamlit keeps a page's state in one container",
    "--set-secrets": "instances sign their cookies with the same key",
    "--allow-unauthenticated": 'people open it, so it has this in place of "$access"',
}
MORE_FLAGS = {
    "backend_v2": {"--set-secrets": "the choice of a model is in a signed cookie"},
    **{each.name: FRONTEND_FLAGS for each in FRONTENDS},
}
# Values of flags that are the same for every component.
SHARED_VALUES = ("--project", "--region", "--image", "--service-account", "--min-instances")


def deploy_command(root: Path, component: str) -> list[str]:
    """Return the lines of a script's `gcloud run deploy`."""
    return command(read(root, f"deploy_{component}.sh"), 'gcloud run deploy "$service"')


def submit_command(root: Path, component: str) -> list[str]:
    """Return the lines of a script's `gcloud builds submit`."""
    return command(read(root, f"submit_build_{component}.sh"), 'gcloud builds submit "$root"')


@pytest.mark.parametrize("name", EVERY)
def test_component_has_its_files(name: str, root: Path) -> None:
    component = BY_NAME[name]
    names = [f"cloudbuild_{name}.yaml", f"submit_build_{name}.sh", f"deploy_{name}.sh"]
    wanted = [*(f"deployment/{each}" for each in names), component.dockerfile]
    wanted += [f"deployment/Dockerfile.{component.base}"]
    assert [each for each in wanted if not (root / each).is_file()] == []


def test_every_dockerfile_and_script_belongs_to_a_component(root: Path) -> None:
    dockerfiles = {path.relative_to(root).as_posix() for path in root.glob("[!.]*/**/Dockerfile")}
    assert dockerfiles == {each.dockerfile for each in COMPONENTS}
    suffixes = {
        re.sub("^(cloudbuild|submit_build|deploy)_", "", path.stem)
        for pattern in ("cloudbuild_*.yaml", "submit_build_*.sh", "deploy_*.sh")
        for path in (root / "deployment").glob(pattern)
    }
    assert suffixes - {"template", "service_template"} == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_build_file_is_the_template_but_for_its_names(name: str, root: Path) -> None:
    template = read(root, "cloudbuild_template.yaml")
    assert read(root, f"cloudbuild_{name}.yaml") == BY_NAME[name].of_template(template)


@pytest.mark.parametrize("name", ONE_BUILD)
def test_submit_script_is_the_template_but_for_its_names_and_models(name: str, root: Path) -> None:
    text = BY_NAME[name].of_template(read(root, "submit_build_template.sh"))
    text = text.replace("#\n# It prints", f"#\n{MODEL_LINE.get(name, '')}# It prints")
    text = text.replace('$revision" \\', f'$revision{MODEL_SUBSTITUTION.get(name, "")}" \\')
    assert read(root, f"submit_build_{name}.sh") == text


def test_submit_script_of_v3_backend_runs_the_template_s_command(root: Path) -> None:
    template = submit_command(root, "template")
    wanted = BY_NAME["v3_backend"].of_template("\n".join(template))
    wanted = wanted.replace('$revision"', f'$revision{MODEL_SUBSTITUTION["v3_backend"]}"')
    assert submit_command(root, "v3_backend") == wanted.splitlines()


@pytest.mark.parametrize("name", EVERY)
def test_deploy_command_has_the_template_s_flags_in_order(name: str, root: Path) -> None:
    more = MORE_FLAGS.get(name, {})
    found = deploy_command(root, name)
    assert [each for each in flags(found) if each not in more] == (
        flags(deploy_command(root, "service_template"))
    )
    assert set(more) <= set(flags(found))
    assert ('"$access"' in found) == ("--allow-unauthenticated" not in more)
    assert '${hold[@]+"${hold[@]}"}' in found


@pytest.mark.parametrize("name", EVERY)
def test_deploy_command_differs_by_values_that_a_component_needs(name: str, root: Path) -> None:
    found, template = deploy_command(root, name), deploy_command(root, "service_template")
    for flag in SHARED_VALUES:
        assert values(found)[flag] == values(template)[flag], flag


def test_deploy_scripts_of_backend_v1_and_the_template_are_twins(root: Path) -> None:
    template = read(root, "deploy_service_template.sh")
    wanted = BY_NAME["backend_v1"].of_template(template)
    assert read(root, "deploy_backend_v1.sh") == wanted


def test_deploy_scripts_of_frontends_v1_and_v2_are_twins(root: Path) -> None:
    first, second = read(root, "deploy_frontend_v1.sh"), read(root, "deploy_frontend_v2.sh")
    assert first.replace("v1", "v2") == second


@pytest.mark.parametrize("name", EVERY)
def test_deploy_script_records_its_component_s_url(name: str, root: Path) -> None:
    deliverable = BY_NAME[name].deliverable
    recorded = re.findall(r'^ *record "?([^ "]+)"? ', read(root, f"deploy_{name}.sh"), re.M)
    assert recorded == [f"{deliverable}.service_url"]


@pytest.mark.parametrize("name", EVERY)
def test_ports_agree(name: str, root: Path) -> None:
    """The build file's is compared with this same table above."""
    component = BY_NAME[name]
    deploy = values(deploy_command(root, name))
    assert deploy["--port"] == str(component.port)
    assert f"httpGet.port={component.port}," in deploy["--startup-probe"]
    dockerfile = (root / component.dockerfile).read_text()
    assert re.findall(r"^ARG SERVING_PORT=(.*)$", dockerfile, re.M) == [str(component.port)]


def test_probes_ask_what_says_that_a_service_is_ready(root: Path) -> None:
    paths = {
        name: values(deploy_command(root, name))["--startup-probe"].split(",")[0] for name in EVERY
    }
    page, service = "httpGet.path=/_stcore/health", "httpGet.path=/ready"
    pages = {each.name for each in FRONTENDS}
    assert paths == {name: page if name in pages else service for name in EVERY}


def test_streamlit_keeps_its_connection_as_long_as_cloud_run_lets_it(root: Path) -> None:
    for component in FRONTENDS:
        # https://cloud.google.com/run/docs/configuring/request-timeout
        assert values(deploy_command(root, component.name))["--timeout"] == "3600"


@pytest.mark.parametrize("name", [each.name for each in BACKENDS])
def test_backends_leave_the_models_to_the_image(name: str, root: Path) -> None:
    """Other models than those compiled into it could not be served."""
    variables = values(deploy_command(root, name))["--set-env-vars"]
    assert "MODEL_NAME=" not in variables
    assert "WEIGHTS_DIR=" not in variables
