"""Cloud Run on one machine: the API that gcloud speaks, with real containers behind it."""

import atexit
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tools.rehearsal.run.api import blueprint
from tools.rehearsal.run.cloud import CloudRun
from tools.rehearsal.run.stop import stop_all
from tools.rehearsal.store import Store

if TYPE_CHECKING:
    from flask import Blueprint

__all__ = ["create_blueprint", "stop_all"]


def create_blueprint(store: Store, environ: Mapping[str, str]) -> "Blueprint":
    """Return the views of Cloud Run; containers from an earlier process are found again.

    Args:
        store: the server's documents; logs and the router's files are kept beside them.
        environ: of docker and nginx; REHEARSAL_DOCKER_FLAGS are options for every container.
    """
    cloud = CloudRun(store, environ)
    cloud.start()
    atexit.register(cloud.close)
    return blueprint(cloud)
