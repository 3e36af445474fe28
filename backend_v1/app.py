"""v1: one fixed model, loaded once. A global is fine: nobody can change it."""

import os

from imgserve.backend.app import make_app, settings_or_exit
from imgserve.models.pool import WorkerPool
from imgserve.settings import DEFAULT_MODEL

settings = settings_or_exit(os.environ)
pool = WorkerPool(settings, [settings.model_name or DEFAULT_MODEL])
app = make_app(settings, pool)
