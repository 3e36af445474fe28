"""What ``make run`` can be told."""

from dataclasses import dataclass

from imgserve.models.catalogue import CATALOGUE
from imgserve.settings import Settings, setting
from imgserve.settings.parsers import one_of, whole, words

# Those whose trained weights are Python packages: they need no download.
EMBEDDED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def known_models(text: str) -> tuple[str, ...]:
    models = words(text)
    if not set(models) <= set(CATALOGUE):
        raise ValueError
    return models


known_models.__doc__ = f"models separated by commas, of {', '.join(CATALOGUE)}"


@dataclass(frozen=True)
class RunSettings(Settings):
    """What ``make run`` can be told, beside the services' own settings."""

    version: str = setting("v1", one_of("v1", "v2", "v3"), "which backend and frontend to run")
    models: tuple[str, ...] = setting(
        EMBEDDED,
        known_models,
        "the models to choose from, the default first (v2, and v3: one backend each)",
        shown=f"`{','.join(EMBEDDED)}`",
    )
    backend_port: int = setting(
        8000, whole(1, 65535), "the backend's port; in v3 the first one's, the next has the next"
    )
    gateway_port: int = setting(8080, whole(1, 65535), "the gateway's port (v3)")
    frontend_port: int = setting(8501, whole(1, 65535), "the page's port")

    @property
    def has_gateway(self) -> bool:
        """Return whether the version has a backend for each model, and a gateway before them."""
        return self.version == "v3"
