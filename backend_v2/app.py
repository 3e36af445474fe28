"""v2: many models, one chosen per request. What is global here, no request changes for another."""

import os
from functools import partial

from imgserve.backend.boot import settings_or_exit
from imgserve.backend.many_models import many_models_app
from imgserve.models.catalogue import choices
from imgserve.models.loading import prepare
from imgserve.models.local import load_here
from imgserve.models.pool import ModelPool
from imgserve.settings import MIB

settings = settings_or_exit(os.environ)
pool = ModelPool(
    choices(settings.models, settings.model_name),
    partial(prepare, settings),
    partial(load_here, settings),
    limit_bytes=settings.model_memory_mb * MIB,
)
app = many_models_app(settings, pool)
