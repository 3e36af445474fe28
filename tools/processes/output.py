"""What the person who waits is shown."""

import contextlib
import sys

import msgspec

USER_AGENT = "imgserve-run"


def say(text: str) -> None:
    """Show a line to the person who waits, if there is still one."""
    with contextlib.suppress(OSError):  # a closed terminal must not keep services from ending
        sys.stdout.write(f"{text}\n")  # in one piece: several threads write
        sys.stdout.flush()


def readable(line: str) -> str | None:
    """Return a service's line as a person reads it; None for the trace of our own asking.

    A log entry, one JSON object, becomes its severity and message; any other line stays.
    """
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except msgspec.DecodeError:
        return line
    if entry.http_request.get("userAgent") == USER_AGENT:
        return None
    return f"{entry.severity} {entry.message}"


class Entry(msgspec.Struct, rename="camel"):
    """What is read of a log entry, in the field names of Cloud Logging."""

    severity: str
    message: str
    http_request: dict[str, object] = {}
