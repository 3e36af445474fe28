import json
import logging
import logging.config
import sys
from pathlib import Path

import pytest
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError

from imgserve.log import CloudFormatter, logging_config, trace_fields, without_secrets

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _formatted(**record: object) -> dict[str, object]:
    said = {"levelname": "WARNING", "msg": "%s cats", "args": (3,)}
    line = CloudFormatter().format(logging.makeLogRecord(said | record))
    assert "\n" not in line
    entry: dict[str, object] = json.loads(line)
    return entry


def test_an_entry_has_cloud_loggings_names_and_the_fields_of_its_record() -> None:
    entry = _formatted(fields={"httpRequest": {"status": 200}, "path": Path("x")})
    assert (entry["severity"], entry["message"]) == ("WARNING", "3 cats")
    assert str(entry["time"]).endswith("+00:00")
    assert entry["httpRequest"] == {"status": 200}
    assert entry["path"] == "x"  # what JSON has no type for is text


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


def test_a_traceback_stays_in_its_line_without_what_a_library_gives_away_in_it() -> None:
    pool = HTTPConnectionPool("127.0.0.1", 1)
    try:
        raise MaxRetryError(pool, "/a.png?sig=SECRET", OSError("https://x.example/?sig=SECRET"))
    except MaxRetryError:
        message = str(_formatted(exc_info=sys.exc_info())["message"])
    assert "Traceback" in message
    assert "/a.png?..." in message
    assert "SECRET" not in message
    pool.close()


NAME = f"projects/my-project/traces/{TRACE}"
NAMES = [f"logging.googleapis.com/{name}" for name in ("trace", "spanId", "trace_sampled")]


@pytest.mark.parametrize(
    ("traceparent", "cloud_trace", "project", "fields"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", "", "my-project", (NAME, "b7ad6b7169203331", True)),
        (f"00-{TRACE}-b7ad6b7169203331-00", "", "my-project", (NAME, "b7ad6b7169203331", False)),
        ("", f"{TRACE}/17;o=1", "my-project", (NAME, "0000000000000011", True)),
        ("", TRACE, "my-project", (NAME, "0000000000000000", False)),
        ("", f"{TRACE}/1", "", (TRACE, "0000000000000001", False)),
        ("", "", "my-project", ()),
        ("nonsense", "", "my-project", ()),
        (f"00-{TRACE}-short-01", "", "my-project", ()),
        ("", f"{TRACE}/{'9' * 21}", "my-project", ()),
    ],
)
def test_a_request_is_tied_to_its_trace_where_it_has_a_usable_one(
    traceparent: str, cloud_trace: str, project: str, fields: tuple[object, ...]
) -> None:
    assert trace_fields(traceparent, cloud_trace, project) == dict(zip(NAMES, fields, strict=False))


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
