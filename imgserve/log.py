"""One JSON object a line, in the field names Cloud Logging reads.

Names: https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
Every entry written while a request is handled carries that request's trace.
"""

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

TRACE_FIELDS: ContextVar[dict[str, Any]] = ContextVar("trace_fields", default={})  # noqa: B039  never changed, only replaced

# W3C Trace Context: version-traceid-spanid-flags
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# Cloud Run's older header: traceid/spanid;o=flag, the span in decimal
CLOUD_TRACE = re.compile(r"([0-9a-f]{32})(?:/(\d{1,20}))?(?:;o=([01]))?")


def trace_fields(traceparent: str, cloud_trace: str, project: str) -> dict[str, Any]:
    """Return the log fields that tie an entry to the caller's trace; none without a trace.

    The request's header ``traceparent`` goes before the other, ``X-Cloud-Trace-Context``;
    ``project`` is empty where there is none.
    """
    if match := TRACEPARENT.fullmatch(traceparent):
        trace, span, flags = match.groups()
        sampled = bool(int(flags, 16) & 1)
    elif match := CLOUD_TRACE.fullmatch(cloud_trace):
        trace, span_decimal, flag = match.groups()
        span = f"{int(span_decimal or 0):016x}"
        sampled = flag == "1"
    else:
        return {}
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace}" if project else trace,
        "logging.googleapis.com/spanId": span,
        "logging.googleapis.com/trace_sampled": sampled,
    }


# A signed address opens what it names to whoever has its query, a password likewise.
QUERY = re.compile(r"""(?<=[^\s"'])[?#][^\s"']+""")
PASSWORD = re.compile(r"""(?<=://)[^/\s"'@]*@""")


def without_secrets(text: str) -> str:
    """Return a text whose addresses have lost their query, fragment and password.

    Libraries name addresses in warnings and errors: ``/a.png?sig=x`` becomes ``/a.png?...``.
    """
    return QUERY.sub("?...", PASSWORD.sub("", text))


class CloudFormatter(logging.Formatter):
    """Formats a record as one line of JSON; ``extra={"fields": {...}}`` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        entry = {
            "severity": record.levelname,
            "message": without_secrets(message),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            **TRACE_FIELDS.get(),
            **getattr(record, "fields", {}),
        }
        return msgspec.json.encode(entry, enc_hook=str).decode()


def logging_config(level: str) -> dict[str, Any]:
    """Return the configuration, for ``logging.config.dictConfig``: all to standard output."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"cloud": {"()": CloudFormatter}},
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "formatter": "cloud", "stream": sys.stdout}
        },
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "PIL": {"level": "WARNING"},  # else it has a line for each part of a picture
        },
    }
