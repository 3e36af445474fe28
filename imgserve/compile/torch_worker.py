"""A worker with ENGINE=torch: it runs a model as torch does, on a GPU if there is one."""

import sys

import torch

from imgserve.compile.sources import original
from imgserve.errors import ModelError
from imgserve.models import catalogue
from imgserve.models.classifier import Classifier
from imgserve.models.compiled_model import checkpoints_folder
from imgserve.models.worker_process import main
from imgserve.settings import BackendSettings


def load(settings: BackendSettings, model_id: str) -> Classifier:
    """Return a model, warm; ModelError where it cannot be loaded or is no torch module."""
    found = original(
        model_id,
        catalogue.entry(model_id, settings.models_file),
        folder=checkpoints_folder(settings),
        url_base=settings.weights_url_base,
    )
    if found.servable is None:
        raise ModelError(f"model {model_id} is a graph, which needs ENGINE=openvino")
    found.servable.to("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(settings.threads)
    classifier = Classifier(found.categories, found.transform, found.engine)
    classifier.warm_up()
    return classifier


if __name__ == "__main__":
    sys.exit(main(load))
