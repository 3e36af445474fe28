"""The HTTP side of v2 and v3, where a path names the model.

In v2 else the address or the body does, else the caller's own cookie.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from imgserve import errors
from imgserve.backend.app import make_app
from imgserve.models import catalogue
from imgserve.pictures.fetch import Fetcher
from imgserve.settings import BackendSettings
from tests.unit.pool_stand_in import PoolStandIn, named_after_itself
from tests.unit.test_compiled_model import written_model
from tests.unit.test_routes import by_url, cat, problem, raw, upload

URL = "https://a.example/cat.jpg"


def client(pool: PoolStandIn | None = None, **settings: Any) -> FlaskClient:
    """Return a client, with a cookie jar of its own, of a backend with the models a, b and c."""
    pool = pool or PoolStandIn(named_after_itself("a", "b", "c"))
    given = BackendSettings(**{"threads": 2, "secret_key": "k", **settings})
    return make_app(given, pool, has_choice=True).test_client()


def client_of_v3(*behind_the_gateway: str) -> FlaskClient:
    """Return a client of a backend with the model a."""
    settings = BackendSettings(threads=1, models=behind_the_gateway)
    return make_app(settings, PoolStandIn(named_after_itself("a")), by_path=True).test_client()


@pytest.fixture(autouse=True)
def _cat_at_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "fetch", lambda *_: cat())


def kinds(**options: str) -> dict[str, dict[str, Any]]:
    """Return the three kinds of body, for those that have options with these."""
    return {"json": by_url(URL, **options), "form": upload(cat(), **options), "picture": raw(cat())}


def used(backend: FlaskClient, path: str = "/predict", kind: str = "form", **form: str) -> str:
    """Return which model answered."""
    answer = backend.post(path, **kinds(**form)[kind]).get_json()
    assert answer["category"] == answer["model"]
    model: str = answer["model"]
    return model


@pytest.mark.parametrize("kind", kinds())
def test_path_beats_address_and_body_which_beat_the_cookie_which_beats_the_default(
    kind: str,
) -> None:
    backend = client()
    assert used(backend, kind=kind) == "a"
    backend.put("/model/c")
    assert used(backend, kind=kind) == "c"
    assert used(backend, "/predict?model=b", kind) == "b"
    assert used(backend, "/model/a/predict?model=b", kind) == "a"
    if kind != "picture":
        assert used(backend, kind=kind, model="b") == "b"
        assert used(backend, "/predict?model=b", kind, model="b") == "b"
        assert used(backend, "/model/a/predict", kind, model="b") == "a"
    assert used(backend, kind=kind) == "c"


@pytest.mark.parametrize("path", ["/predict?model=b", "/predict?model=b&model=c"])
@pytest.mark.parametrize("kind", ["json", "form"])
def test_two_models_in_one_request_are_refused(path: str, kind: str) -> None:
    answered = problem(client().post(path, **kinds(model="c")[kind]), errors.InvalidRequest)
    assert "more than one model is named: b, c" in answered.detail


def test_callers_own_choice_is_kept_for_the_caller_alone() -> None:
    pool = PoolStandIn(named_after_itself("a", "b", "c"))
    backend = client(pool)
    other = backend.application.test_client()
    assert backend.put("/model/b").get_json()["model"] == "b"
    assert pool.warmed == ["b"]  # it begins to load
    assert (used(backend), used(other)) == ("b", "a")
    assert "detail" in other.put("/model/c").get_json()
    assert (used(backend), used(other)) == ("b", "c")
    assert backend.put("/model/a").get_json() == {"model": "a"}  # it sent the cookie


def test_caller_without_cookies_is_told_how_its_choice_is_used() -> None:
    """As the calls of a page that keeps none: `requests.put`, then `requests.post`."""
    caller = client().application.test_client(use_cookies=False)
    chosen = caller.put("/model/b").get_json()
    assert chosen["model"] == "b"
    assert used(caller, kind="json") == "a"
    paths = re.findall(r"POST (\S+)", chosen["detail"])
    assert len(paths) == 2
    assert {used(caller, path, kind="json") for path in paths} == {"b"}


@pytest.mark.parametrize(
    ("key", "models", "is_tampered_with", "model"),
    [
        ("k", "abc", False, "b"),
        ("k", "ac", False, "a"),
        ("l", "abc", False, "a"),
        ("k", "abc", True, "a"),
    ],
)
def test_instances_with_the_same_key_and_model_share_choices_that_nobody_tampered_with(
    key: str, models: str, is_tampered_with: bool, model: str
) -> None:
    one, two = client(), client(PoolStandIn(named_after_itself(*models)), secret_key=key)
    one.put("/model/b")
    cookie = one.get_cookie("imgserve")
    assert cookie
    assert (cookie.http_only, cookie.same_site) == (True, "Lax")
    first = "A" if cookie.value[0] != "A" else "B"  # the last one's low bits are not used
    two.set_cookie("imgserve", first + cookie.value[1:] if is_tampered_with else cookie.value)
    assert used(two) == model


def test_without_a_key_a_random_one_is_made_and_told(caplog: pytest.LogCaptureFixture) -> None:
    one, two = client(secret_key=""), client(secret_key="")
    assert "SECRET_KEY is not set" in caplog.text
    assert one.application.secret_key != two.application.secret_key


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/model/x"), ("PUT", "/model/x")),
        *(("POST", "/model/x/predict"), ("POST", "/predict?model=x")),
    ],
)
def test_an_unknown_model_is_a_404_that_lists_those_there_are(method: str, path: str) -> None:
    data = kinds()["form"] if method == "POST" else {}
    answered = problem(client().open(path, method=method, **data), errors.UnknownModel)
    assert "a, b, c" in answered.detail


def test_models_are_listed_default_first_and_in_v3_those_behind_the_gateway() -> None:
    assert client().get("/models").get_json() == ["a", "b", "c"]
    assert client_of_v3().get("/models").get_json() == ["a"]
    assert client_of_v3("b", "a").get("/models").get_json() == ["b", "a"]


def test_v3_has_its_own_model_and_no_predict_without_one() -> None:
    backend = client_of_v3()
    assert used(backend, "/model/a/predict") == "a"
    response = backend.post("/model/b/predict", **kinds()["form"])
    assert "no model 'b' here" in problem(response, errors.UnknownModel).detail
    problem(backend.get("/model/b"), errors.UnknownModel)
    problem(backend.post("/predict"), errors.UnknownRoute)
    ready = {"model": "a", "status": "ready", "precision": "fp32"}
    assert backend.get("/ready").get_json() == ready


@pytest.mark.parametrize(
    ("model", "state", "detail"),
    [("vgg16", "absent", "no weights"), ("efficientnet_lite0", "ready", None)],
)
def test_a_model_is_described_and_has_a_size_once_it_is_compiled(
    tmp_path: Path, model: str, state: str, detail: str | None
) -> None:
    failures = {"vgg16": errors.ModelUnavailable("no weights")}
    pool = PoolStandIn(named_after_itself("vgg16", "efficientnet_lite0"), failures=failures)
    backend = client(pool, weights_dir=tmp_path)
    described = backend.get(f"/model/{model}").get_json()
    entry = catalogue.entry(model)
    assert (described["id"], described["title"]) == (model, entry.title)
    assert (described["top1"], described["parameters"]) == (entry.top1, entry.parameters)
    assert (described["state"], described["detail"]) == (state, detail)
    assert described["size_bytes"] is None
    (tmp_path / "compiled").mkdir()
    written_model(tmp_path / "compiled", model)
    described = backend.get(f"/model/{model}").get_json()
    assert described["size_bytes"] == len("graph") + len("weights")


@pytest.mark.parametrize("version", [{}, {"has_choice": True}, {"by_path": True}])
def test_every_route_is_described_in_openapi_3_1(version: dict[str, bool]) -> None:
    pool = PoolStandIn(named_after_itself("a", "b", "c"))
    app = make_app(BackendSettings(threads=1), pool, **version)
    document = app.test_client().get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    routes = {rule.rule.replace("<model>", "{model}") for rule in app.url_map.iter_rules()}
    assert routes - set(document["paths"]) == {"/docs/", "/docs/<path:path>"}
    not_ready = document["paths"]["/ready"]["get"]["responses"]["503"]
    assert not_ready["description"] == "Model not ready; Model unavailable"


def test_what_a_prediction_takes_and_answers_is_described() -> None:
    document = client().get("/openapi.json").get_json()
    predict = document["paths"]["/model/{model}/predict"]["post"]
    kinds = {"application/json", "multipart/form-data", "image/*"}
    assert set(predict["requestBody"]["content"]) == kinds
    answered = "200 400 404 408 413 415 422 431 501 502 503 504"
    assert set(predict["responses"]) == set(answered.split())
    told = {parameter["name"]: parameter for parameter in predict["parameters"]}
    assert told["model"]["description"] == "With any body."
    assert told["top_k"]["schema"]["maximum"] == 3
    schemas = document["components"]["schemas"]
    assert set(schemas["ChoosingRequest"]["properties"]) == {"url", *told, "explain", "thumbnail"}
    assert "cookie" in str(schemas["Choice"])
