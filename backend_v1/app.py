"""v1: one fixed model, loaded once. A global is fine: nobody can change it."""

import os
from functools import partial

from imgserve.engine.loading import LoadingModel, load
from imgserve.service.app import create_app
from imgserve.settings import BackendSettings

settings = BackendSettings.from_environ(os.environ)
model = LoadingModel(settings.model_name, partial(load, settings))
app = create_app(settings, model.get)
