"""v3: one model per container, named in the path, so that each scales and fails alone."""

import os

from imgserve.backend.app import make_app, settings_or_exit
from imgserve.models.pool import WorkerPool

settings = settings_or_exit(os.environ, has_models=False, needs_model=True)
pool = WorkerPool(settings, [settings.model_name])
app = make_app(settings, pool, by_path=True)
