"""From the text of an environment variable to its value.

A parser raises ValueError; its docstring, or that of the parser it returns, says what it accepts
and completes the sentence "it takes ...".
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

LONGEST_S = 3600.0  # Cloud Run ends every request by then; waiting takes no number without end


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers from low to high, both allowed."""

    def parse(text: str) -> int:
        number = int(text)
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    bound = f"{low} or more" if high is None else f"from {low} to {high}"
    parse.__doc__ = f"a whole number, {bound}"
    return parse


def seconds(text: str) -> float:
    """a number of seconds above 0, up to 3600"""
    number = float(text)
    if not 0 < number <= LONGEST_S:
        raise ValueError
    return number


def folder(text: str) -> Path:
    """the path of a folder"""
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # no such user, or one without a home
        raise ValueError(text) from exc


def file(text: str) -> Path:
    """the path of a file that is there"""
    path = folder(text)
    if not path.is_file():
        raise ValueError(text)
    return path


def word(text: str) -> str:
    """text that is not empty"""
    if not text.strip():
        raise ValueError
    return text.strip()


def words(text: str) -> tuple[str, ...]:
    """a list separated by commas"""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError
    return tuple(dict.fromkeys(parts))


def networks(text: str) -> tuple[str, ...]:
    """addresses or CIDR ranges separated by commas, such as 127.0.0.1/32"""
    return tuple(str(ipaddress.ip_network(part)) for part in words(text))


def origins(text: str) -> tuple[str, ...]:
    """web origins separated by commas, such as https://page.example, or *"""
    return tuple(part if part == "*" else base_url(part) for part in words(text))


def contact(text: str) -> str:
    """an address of a page or of mail, in ASCII without spaces, parentheses, commas or |"""
    if not re.fullmatch(r"[!-'*+\--{}~]+", text):
        raise ValueError
    return text


def certificates(text: str) -> Path:
    """a file of certificates in PEM form"""
    import ssl  # here: few need it, and each worker would wait for it

    path = folder(text)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one
        raise ValueError(text) from exc
    return path


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts exactly these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    parse.__doc__ = "one of " + ", ".join(allowed)
    return parse


def base_url(text: str) -> str:
    """an address that starts with http:// or https://"""
    if not text.startswith(("http://", "https://")):
        raise ValueError
    return text.rstrip("/")
