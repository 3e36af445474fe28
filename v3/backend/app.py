"""v3: one model per container, named in the path, so that each scales and fails alone."""

import os
from functools import partial

from imgserve.compute.copies import load_copies
from imgserve.engine.loading_model import LoadingModel
from imgserve.service.start import settings_or_exit

settings = settings_or_exit(os.environ, "MODEL_NAME")
name = settings.model_name
model = LoadingModel(name, partial(load_copies, settings, name))

# Only now: while a process beside this one loads the model, Flask is imported here.
from imgserve.service.one_model import model_by_path_app  # noqa: E402

app = model_by_path_app(settings, model)
