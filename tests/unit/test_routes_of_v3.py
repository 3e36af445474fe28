"""The HTTP side of v3: one model, named in the path."""

import io

from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from imgserve import errors
from imgserve.backend.app import model_by_path_app
from imgserve.settings import BackendSettings
from tests.unit.pool_stand_in import PoolStandIn, named_after_itself
from tests.unit.test_routes import cat, problem


def client(models: tuple[str, ...] = ()) -> FlaskClient:
    """Return a client of a backend with the model a."""
    pool = PoolStandIn(named_after_itself("a"))
    return model_by_path_app(BackendSettings(threads=1, models=models), pool).test_client()


def test_its_own_model_answers() -> None:
    data = {"image": (io.BytesIO(cat()), "cat.jpg")}
    assert client().post("/model/a/predict", data=data).get_json()["model"] == "a"


def test_any_other_model_is_a_404() -> None:
    data = {"image": (io.BytesIO(cat()), "cat.jpg")}
    response = client().post("/model/b/predict", data=data)
    assert "no model 'b' here" in problem(response, errors.UnknownModel).detail
    problem(client().get("/model/b"), errors.UnknownModel)


def test_there_is_no_predict_without_a_model() -> None:
    problem(client().post("/predict"), errors.UnknownRoute)


def test_models_are_those_behind_the_gateway_if_it_is_told() -> None:
    assert client().get("/models").get_json() == ["a"]
    assert client(models=("b", "a")).get("/models").get_json() == ["b", "a"]


def test_ready_names_the_model() -> None:
    assert client().get("/ready").get_json() == {
        "model": "a",
        "status": "ready",
        "precision": "fp32",
    }


def test_the_api_is_described_in_openapi_3_1() -> None:
    document = client().get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    assert "/model/{model}/predict" in document["paths"]
    not_ready = document["paths"]["/ready"]["get"]["responses"]["503"]
    assert not_ready["description"] == "Model not ready; Model unavailable"
