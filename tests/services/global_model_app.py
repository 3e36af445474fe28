"""A backend that keeps the chosen model in globals, as the original of v2 did.

It is here to be tested, not to be used: test_global_model.py shows what is wrong with it. Its
routes are v2's, and the models are real ones.
"""

from typing import Any

from flask import Flask, request

from imgserve.models import compiled_model as artefact
from imgserve.models import openvino_engine
from imgserve.models.classifier import Classifier
from imgserve.models.transform import least_side
from imgserve.pictures.decode import decode

app = Flask(__name__)  # its COMPILED is the folder of compiled models
model: Classifier
name: str


def model_of(model_id: str) -> Classifier:
    """Return a compiled model."""
    return openvino_engine.load(app.config["COMPILED"], model_id, threads=2)


def name_of(model_id: str) -> str:
    """Return what answers call a model."""
    return artefact.parse_info(app.config["COMPILED"], model_id).model


@app.put("/model/<model_id>")
def choose(model_id: str) -> dict[str, str]:
    """Choose a model, for everybody: that is the fault."""
    global model, name  # noqa: PLW0603  the fault that is shown
    model = model_of(model_id)
    name = name_of(model_id)
    return {"model": name}


@app.post("/predict")
def predict() -> dict[str, Any]:
    """Say what is on a picture, with the model that is in the globals by now."""
    data = request.files["image"].read()
    side = least_side(model.transform)
    made = model(decode(data, limit_pixels=50_000_000, least_side=side))
    best = int(made.probabilities.argmax())
    probability = round(float(made.probabilities[best]), 6)
    first = {"category": made.categories[best], "probability": probability}
    return {"model": name, "predictions": [first]}
