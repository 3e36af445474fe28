"""Load per request: the model that is asked for is loaded, asked once and dropped, each time.

Our engine and our preprocessing, so that only the loading differs; runs in our environment. What is
dropped goes back to the system at once, which is the least memory this way can have.
"""

import os
import sys
from pathlib import Path

from flask import Flask, abort, request

from imgserve.models import openvino_engine
from imgserve.models.malloc import give_memory_back
from tools.benchmarks.work import decoded

COMPILED = Path(os.environ["WEIGHTS_DIR"], "compiled")
THREADS = int(os.environ["THREADS"])
MODELS = os.environ["MODELS"].split(",")

app = Flask(__name__)


@app.post("/model/<model>/predict")
def predict(model: str) -> dict[str, str]:
    """Say what is on a picture."""
    if model not in MODELS:
        abort(404)
    answer = {"category": _category(model, request.files["image"].read())}
    give_memory_back()
    return answer


def _category(model: str, picture: bytes) -> str:
    classifier = openvino_engine.load(COMPILED, model, threads=THREADS)
    sys.stderr.write(f"model {model} loaded\n")
    made = classifier(decoded(picture, classifier.transform))
    return str(classifier.categories[int(made.probabilities.argmax())])
