import json
import logging
import logging.config
import sys
from pathlib import Path

import pytest
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError

from imgserve.log import (
    TRACE_FIELDS,
    CloudFormatter,
    logging_config,
    trace_fields,
    without_secrets,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _formatted(level: int = logging.INFO, **more: object) -> dict[str, object]:
    record = logging.LogRecord("imgserve.x", level, "f.py", 1, "%s cats", (3,), None)
    for name, value in more.items():
        setattr(record, name, value)
    line = CloudFormatter().format(record)
    assert "\n" not in line
    entry: dict[str, object] = json.loads(line)
    return entry


def _fields(headers: dict[str, str]) -> dict[str, object]:
    given = headers.get("traceparent", ""), headers.get("X-Cloud-Trace-Context", "")
    return trace_fields(*given, "my-project")


def test_an_entry_has_cloud_loggings_names_and_the_fields_of_its_record() -> None:
    entry = _formatted(logging.WARNING, fields={"httpRequest": {"status": 200}, "path": Path("x")})
    assert (entry["severity"], entry["message"]) == ("WARNING", "3 cats")
    assert str(entry["time"]).endswith("+00:00")
    assert entry["httpRequest"] == {"status": 200}
    assert entry["path"] == "x"  # what JSON has no type for is text


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        entry = _formatted(logging.ERROR, exc_info=sys.exc_info())
    assert "Traceback" in str(entry["message"])
    assert "ValueError: broken" in str(entry["message"])


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("https://a.example/b.png?sig=SECRET&t=1 failed", "https://a.example/b.png?... failed"),
        ("url: /b.png?sig=SECRET (Caused by x)", "url: /b.png?... (Caused by x)"),
        ("'/?SECRET' and \"/a#SECRET\"", "'/?...' and \"/a?...\""),
        ("http://anna:SECRET@a.example/b", "http://a.example/b"),
        ("http://anna:SECRET@a.example/b?SECRET", "http://a.example/b?..."),
        ("http://a.example?SECRET", "http://a.example?..."),
        ("why? because of /a/b@c # 3, mail a@b.example?", None),
    ],
)
def test_an_address_is_written_without_what_makes_it_private(
    said: str, written: str | None
) -> None:
    assert without_secrets(said) == (written or said)


def test_a_library_that_names_an_address_in_an_error_gives_away_nothing() -> None:
    pool = HTTPConnectionPool("127.0.0.1", 1)
    error = MaxRetryError(pool, "/a.png?sig=SECRET", OSError("https://x.example/?sig=SECRET"))
    try:
        raise error
    except MaxRetryError:
        entry = _formatted(logging.ERROR, exc_info=sys.exc_info())
    assert "/a.png?..." in str(entry["message"])
    assert "SECRET" not in str(entry["message"])
    pool.close()


@pytest.mark.parametrize(
    ("headers", "span", "sampled"),
    [
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, "b7ad6b7169203331", True),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}, "b7ad6b7169203331", False),
        ({"X-Cloud-Trace-Context": f"{TRACE}/17;o=1"}, "0000000000000011", True),
        ({"X-Cloud-Trace-Context": TRACE}, "0000000000000000", False),
    ],
)
def test_a_request_is_tied_to_its_trace(headers: dict[str, str], span: str, sampled: bool) -> None:
    assert _fields(headers) == {
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE}",
        "logging.googleapis.com/spanId": span,
        "logging.googleapis.com/trace_sampled": sampled,
    }


def test_without_a_project_the_trace_is_written_bare() -> None:
    fields = trace_fields("", f"{TRACE}/1", "")
    assert fields["logging.googleapis.com/trace"] == TRACE


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{TRACE}-short-01"},
        {"X-Cloud-Trace-Context": f"{TRACE}/{'9' * 21}"},
    ],
)
def test_without_a_usable_trace_nothing_is_added(headers: dict[str, str]) -> None:
    assert _fields(headers) == {}


def test_entries_written_during_a_request_carry_its_trace() -> None:
    token = TRACE_FIELDS.set({"logging.googleapis.com/trace": "t"})
    try:
        assert _formatted()["logging.googleapis.com/trace"] == "t"
    finally:
        TRACE_FIELDS.reset(token)


def test_configuration_writes_entries_from_a_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(logging_config("WARNING"))
        logging.getLogger("imgserve.some").info("quiet")
        logging.getLogger("imgserve.some").warning("loud")
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "loud"
