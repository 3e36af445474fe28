"""Environment variables as a dataclass: what each takes, how it is read, and what it is for.

A parser makes a value of a variable's text, else raises ValueError or OSError; its docstring says
what it takes and completes the sentence "it takes ...".
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from imgserve.errors import InvalidSetting

Value = TypeVar("Value")

LONGEST_S = 3600.0  # Cloud Run ends every request by then; waiting takes no number without end


def parser(
    takes: str, convert: Callable[[str], Value], is_usable: Callable[[Value], object]
) -> Callable[[str], Value]:
    """Return a parser of what ``convert`` makes of a text, where that is usable."""

    def parse(text: str) -> Value:
        value = convert(text)
        if not is_usable(value):
            raise ValueError(text)
        return value

    parse.__doc__ = takes
    return parse


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers from low to high, both allowed."""
    bound = f"{low} or more" if high is None else f"from {low} to {high}"
    return parser(
        f"a whole number, {bound}",
        int,
        lambda number: number >= low and (high is None or number <= high),
    )


def one_of(*allowed: str) -> Callable[[str], str]:
    return parser(f"one of {', '.join(allowed)}", str, allowed.__contains__)


seconds = parser(
    f"a number of seconds above 0, up to {LONGEST_S:g}",
    float,
    lambda number: 0 < number <= LONGEST_S,
)
word = parser("text that is not empty", str.strip, bool)
contact = parser(
    "an address of a page or of mail, in ASCII without spaces, parentheses, commas or |",
    str,
    re.compile(r"[!-'*+\--{}~]+").fullmatch,
)
words = parser(
    "a list separated by commas",
    lambda text: tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip())),
    bool,
)


def networks(text: str) -> tuple[str, ...]:
    """addresses or CIDR ranges separated by commas, such as 127.0.0.1/32"""
    return tuple(str(ipaddress.ip_network(part)) for part in words(text))


def base_url(text: str) -> str:
    """an address that starts with http:// or https://"""
    if not text.startswith(("http://", "https://")):
        raise ValueError
    return text.rstrip("/")


def origins(text: str) -> tuple[str, ...]:
    """web origins separated by commas, such as https://page.example, or *"""
    return tuple(part if part == "*" else base_url(part) for part in words(text))


def folder(text: str) -> Path:
    """the path of a folder"""
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # no such user, or one without a home
        raise ValueError(text) from exc


file = parser("the path of a file that is there", folder, Path.is_file)


@cache  # a backend's settings are read before and after it forks, and all authorities take 20 ms
def certificates(text: str) -> Path:
    """a file of certificates in PEM form"""
    import ssl  # here: few need it, and each worker would wait for it

    path = folder(text)
    ssl.create_default_context(cafile=path)
    return path


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
            if text := environ.get(name):
                try:
                    values[field_.name] = parse(text)
                except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
                    raise InvalidSetting(
                        f"{name}={text!r} cannot be used: it takes {parse.__doc__}"
                    ) from exc
        return cls(**values)
