"""The document of Google's API Gateway: valid, complete, and nothing it would stumble over."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator

from imgserve.settings import BackendSettings, FrontendSettings
from v3.gateway.__main__ import main

URLS = {
    "efficientnet_lite0": "https://backend-v3-lite0-abc.a.run.app",
    "swin_b": "https://backend-v3-swin-b-abc.a.run.app",
}
GOOGLES_DEFAULT_DEADLINE_S = 15  # esp-v2, src/go/util/util.go


@pytest.fixture
def document(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the document that the command prints, with the arguments of the test."""
    backends = ",".join(f"{model}={url}" for model, url in URLS.items())
    arguments = getattr(request, "param", [])
    assert main(["openapi", *arguments], {"BACKENDS": backends}) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return every operation of a document by its path and method."""
    return {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize(
    "document", [[], ["--private"], ["--api-key"], ["--private", "--api-key"]], indirect=True
)
def test_document_is_openapi_2_and_operations_have_ids(document: dict[str, Any]) -> None:
    assert document["swagger"] == "2.0"
    OpenAPIV2SpecValidator(document).validate()
    ids = {operation["operationId"] for operation in operations(document).values()}
    assert len(ids) == 2 * len(URLS) + 1


def test_every_model_has_paths_of_its_own_to_its_backend(document: dict[str, Any]) -> None:
    expected = {("/models", "get"): URLS["efficientnet_lite0"]}
    for model, url in URLS.items():
        expected[f"/model/{model}", "get"] = url
        expected[f"/model/{model}/predict", "post"] = url
    found = operations(document)
    assert {key: found[key]["x-google-backend"]["address"] for key in found} == expected


def test_public_backends_get_no_token_and_time_for_a_cold_start(document: dict[str, Any]) -> None:
    assert "security" not in document  # callers need no key
    loading_and_fetching_s = BackendSettings.load_wait_s + BackendSettings.fetch_timeout_s
    least_s = GOOGLES_DEFAULT_DEADLINE_S + loading_and_fetching_s
    for operation in operations(document).values():
        rule = operation["x-google-backend"]
        assert rule["path_translation"] == "APPEND_PATH_TO_ADDRESS"
        assert least_s < rule["deadline"] < FrontendSettings.serving_timeout_s
        assert rule["disable_auth"] is True
        assert "jwt_audience" not in rule


@pytest.mark.parametrize("document", [["--private"]], indirect=True)
def test_private_backends_get_a_token_for_their_root(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        rule = operation["x-google-backend"]
        assert rule["jwt_audience"] == rule["address"]
        assert rule["address"] in URLS.values()
        assert "disable_auth" not in rule


@pytest.mark.parametrize("document", [["--api-key"]], indirect=True)
def test_api_key_is_asked_for_everywhere(document: dict[str, Any]) -> None:
    (name,) = document["security"][0]
    definition = document["securityDefinitions"][name]
    assert definition == {"type": "apiKey", "name": "x-api-key", "in": "header"}
    assert not any("security" in operation for operation in operations(document).values())


@pytest.mark.parametrize(
    ("url", "arguments", "said"),
    [
        ("http://127.0.0.1:8000", [], "is this machine, which Google cannot reach"),
        ("http://localhost:8000", [], "is this machine, which Google cannot reach"),
        ("http://a.example", ["--private"], "a token must not travel unencrypted"),
    ],
)
def test_backend_that_google_cannot_use_is_named(
    url: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["openapi", *arguments], {"BACKENDS": f"swin_b={url}"}) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert url in printed.err
    assert printed.out == ""
