"""What the person who waits is told."""

import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """Write a line with the time to standard error."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()
