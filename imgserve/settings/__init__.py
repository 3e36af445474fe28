"""The tables of environment variables, with defaults, units and limits.

A field's name in upper case is the variable's name; ``make readme`` writes the tables into
docs/settings.md.
"""

from imgserve.settings.backend import DEFAULT_MODEL, BackendSettings
from imgserve.settings.base import Settings, setting
from imgserve.settings.frontend import ID_TOKEN, FrontendSettings

__all__ = [
    "DEFAULT_MODEL",
    "ID_TOKEN",
    "BackendSettings",
    "FrontendSettings",
    "Settings",
    "setting",
]
