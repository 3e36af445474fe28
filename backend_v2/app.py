"""v2: many models, one chosen per request. What is global here, no request changes for another."""

import os

from imgserve.backend.app import make_app, settings_or_exit
from imgserve.models.catalogue import choices
from imgserve.models.pool import WorkerPool
from imgserve.units import MIB

settings = settings_or_exit(os.environ)
models = choices(settings.models, settings.model_name, settings.models_file)
pool = WorkerPool(settings, models, limit_bytes=settings.model_memory_mb * MIB)
app = make_app(settings, pool, has_choice=True)
