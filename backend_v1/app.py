"""v1: one fixed model, loaded once. A global is fine: nobody can change it."""

import os
from functools import partial

from imgserve.backend.boot import settings_or_exit
from imgserve.models.copies import load_copies
from imgserve.models.loading_model import LoadingModel
from imgserve.settings import DEFAULT_MODEL

settings = settings_or_exit(os.environ)
name = settings.model_name or DEFAULT_MODEL
model = LoadingModel(name, partial(load_copies, settings, name))

# Only now: while a process beside this one loads the model, Flask is imported here.
from imgserve.backend.one_model import one_model_app  # noqa: E402

app = one_model_app(settings, model)
