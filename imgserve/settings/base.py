"""Environment variables as a dataclass: what each takes, and what it is for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from imgserve.errors import InvalidSetting


def setting(
    default: Any,
    parse: Callable[[str], Any],
    meaning: str,
    *,
    unit: str = "",
    shown: str | None = None,
) -> Any:
    """Return a dataclass field that reads its value with ``parse``, whose docstring says how.

    ``default`` may be a callable that makes it. For the table are the ``meaning``, the ``unit`` of
    the number, and the default as it is ``shown``, where that differs.
    """
    metadata = {"parse": parse, "meaning": meaning, "unit": unit, "shown": shown}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Values read from the environment; the services' classes add their fields."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings of this environment; an unset or empty variable has its default.

        InvalidSetting names a variable whose value cannot be used.
        """
        values = {}
        for field_ in fields(cls):
            name, parse = field_.name.upper(), field_.metadata["parse"]
            if text := environ.get(name, ""):
                try:
                    values[field_.name] = parse(text)
                except ValueError as exc:
                    raise InvalidSetting(
                        f"{name}={text!r} cannot be used: it takes {parse.__doc__}"
                    ) from exc
        return cls(**values)
