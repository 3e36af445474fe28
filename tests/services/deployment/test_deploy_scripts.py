"""Roll-outs: each script's exact calls in order, for a service's first revision and later ones."""

import pytest

from tests.conventions.deployment import BY_NAME
from tests.services.deployment import calls
from tests.services.deployment.deploys import (
    BACKEND_V1,
    BACKEND_V2,
    FRONTENDS,
    HELD,
    MODELS,
    Service,
    frontend,
    gateway,
    v3_backend,
)
from tests.services.deployment.project import Project


def roll_out(service: Service, *, first: bool = False) -> list[list[str]]:
    """Return the calls that bring out one revision."""
    held = [] if first else HELD
    address = f"https://{'' if first else 'tag---'}{service.name}.a.run.app"
    policy = [] if service.page else [calls.policy(service.name)]
    return [
        *([] if service.page else [calls.exists(service.name)]),
        *([] if first else policy),
        calls.ready_revision(service.name),
        service.deploy(*held),
        *policy,
        calls.url(service.name) if first else calls.tag_url(service.name, "candidate"),
        *service.smoke_test(address),
        *([] if first else [calls.update_traffic(service.name, *RELEASE)]),
        calls.url(service.name),
    ]


RELEASE = ("--to-latest", "--remove-tags=candidate")


def looking_for(backend: str) -> list[list[str]]:
    """Return the calls that ask where a backend is, and whether everyone may call it."""
    return [calls.url(backend), calls.policy(backend)]


def everything(project: Project) -> list[list[str]]:
    """Return the calls of gcloud and curl in order."""
    by_tool = {tool: iter(project.calls(tool)) for tool in ("gcloud", "curl")}
    return [next(by_tool[each["argv"][0]]) for each in project.record()]


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("service", [BACKEND_V1, BACKEND_V2], ids=lambda each: each.name)
def test_deploy_of_a_backend(service: Service, first: bool, project: Project) -> None:
    if first:
        project.before_any_deploy()
    result = project.run(f"deploy_{service.image}.sh")
    assert (result.returncode, result.stdout) == (0, f"https://{service.name}.a.run.app\n")
    assert everything(project) == roll_out(service, first=first)
    assert f"Anyone may call {service.name}" in result.stderr
    assert "tabby" in result.stderr
    recorded = project.deliverable(f"{BY_NAME[service.image].deliverable}.service_url")
    assert recorded == f"https://{service.name}.a.run.app"


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("name", FRONTENDS)
def test_deploy_of_a_frontend_finds_its_backend(name: str, first: bool, project: Project) -> None:
    if first:
        project.before_any_deploy()
    result = project.run(f"deploy_{name}.sh")
    service = frontend(name, *FRONTENDS[name])
    assert (result.returncode, result.stdout) == (0, f"https://{service.name}.a.run.app\n")
    wanted = [*looking_for(FRONTENDS[name][1]), *roll_out(service, first=first)]
    assert everything(project) == wanted
    recorded = project.deliverable(f"{BY_NAME[name].deliverable}.service_url")
    assert recorded == f"https://{service.name}.a.run.app"


@pytest.mark.parametrize("models", [("swin_b", "vgg16"), MODELS], ids=["told", "listed"])
def test_deploy_of_v3_backends_one_service_each(models: tuple[str, ...], project: Project) -> None:
    told = None if models == MODELS else ",".join(models)
    result = project.run("deploy_v3_backend.sh", MODELS=told)
    services = [v3_backend(model, models) for model in models]
    assert result.returncode == 0
    assert result.stdout.split() == [f"https://{each.name}.a.run.app" for each in services]
    assert everything(project) == [call for each in services for call in roll_out(each)]
    for model, service in zip(models, services, strict=True):
        recorded = project.deliverable(f"services.v3.back_ends.{model}.service_url")
        assert recorded == f"https://{service.name}.a.run.app"


@pytest.mark.parametrize("models", [("swin_b", "vgg16"), MODELS], ids=["told", "listed"])
def test_deploy_of_the_gateway_finds_its_backends(
    models: tuple[str, ...], project: Project
) -> None:
    told = None if models == MODELS else ",".join(models)
    result = project.run("deploy_v3_gateway.sh", MODELS=told)
    assert (result.returncode, result.stdout) == (0, "https://v3-gateway.a.run.app\n")
    looked = [call for model in models for call in looking_for(v3_backend(model).name)]
    assert everything(project) == [*looked, *roll_out(gateway(models))]
    recorded = project.deliverable("services.v3.gateway.service_url")
    assert recorded == "https://v3-gateway.a.run.app"


def test_v3_frontend_takes_another_gateway_than_ours(project: Project) -> None:
    result = project.run("deploy_v3_frontend.sh", API_GATEWAY="https://other.gateway.dev")
    assert result.returncode == 0
    asked, deployed = project.calls()[:2]
    assert asked == calls.ready_revision("v3-frontend")
    variables = "--set-env-vars=API_GATEWAY=https://other.gateway.dev,SERVING_AUTH=none"
    assert variables in deployed


def deployed(project: Project) -> list[str]:
    """Return the call that made a revision."""
    (call,) = [call for call in project.calls() if call[1:3] == ["run", "deploy"]]
    return call


def test_tag_and_instances_have_their_effect(project: Project) -> None:
    told = {"TAG": "build-7", "MIN_INSTANCES": "1", "MAX_INSTANCES": "9"}
    project.run("deploy_backend_v1.sh", **told)  # type: ignore[arg-type]  # no path among them
    assert deployed(project) == BACKEND_V1.deploy(*HELD, tag="build-7", instances=(1, 9))


@pytest.mark.parametrize("name", FRONTENDS)
def test_frontend_of_a_private_backend_sends_id_tokens(name: str, project: Project) -> None:
    project.answer("gcloud", "get-iam-policy", says="")
    assert project.run(f"deploy_{name}.sh").returncode == 0
    service = frontend(name, *FRONTENDS[name], auth="id-token")
    assert deployed(project) == service.deploy(*HELD)


@pytest.mark.parametrize("name", FRONTENDS)
def test_frontend_without_a_backend_says_which_script_comes_first(
    name: str, project: Project
) -> None:
    backend = FRONTENDS[name][1]
    project.answer("gcloud", "run", "list", f"--filter=metadata.name={backend}", says="")
    result = project.run(f"deploy_{name}.sh")
    assert (result.returncode, result.stdout) == (1, "")
    script = f"deployment/deploy_{backend.replace('-', '_')}.sh"
    assert f"{backend} is not deployed yet: run {script} first" in result.stderr
    assert project.calls() == [calls.url(backend)]


def test_gateway_without_a_backend_says_which_script_comes_first(project: Project) -> None:
    project.answer("gcloud", "--filter=metadata.name=v3-backend-swin-b", says="")
    result = project.run("deploy_v3_gateway.sh", MODELS="vgg16,swin_b")
    assert (result.returncode, result.stdout) == (1, "")
    assert "v3-backend-swin-b is not deployed yet: run deployment/deploy_v3_backend.sh first" in (
        result.stderr
    )
    assert not [call for call in project.calls() if "deploy" in call]


def test_gateway_refuses_private_backends(project: Project) -> None:
    project.answer("gcloud", "get-iam-policy", "v3-backend-swin-b", says="")
    result = project.run("deploy_v3_gateway.sh", MODELS="vgg16,swin_b")
    assert (result.returncode, result.stdout) == (1, "")
    assert "v3-backend-swin-b asks for ID tokens" in result.stderr
    assert not [call for call in project.calls() if "deploy" in call]
