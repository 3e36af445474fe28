"""v3: one model per container, named in the path, so that each scales and fails alone."""

import os
from functools import partial

from imgserve.backend.boot import settings_or_exit
from imgserve.models.copies import load_copies
from imgserve.models.loading_model import LoadingModel

settings = settings_or_exit(os.environ, "MODEL_NAME")
name = settings.model_name
model = LoadingModel(name, partial(load_copies, settings, name))

# Only now: while a process beside this one loads the model, Flask is imported here.
from imgserve.backend.one_model import model_by_path_app  # noqa: E402

app = model_by_path_app(settings, model)
