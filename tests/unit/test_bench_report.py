"""From rows to the table of targets."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest

from tools.benchmarks.machine import machine
from tools.benchmarks.parts.limit import best_arrangement
from tools.benchmarks.process import Failed, exit_status
from tools.benchmarks.records import COLUMNS, Record, Results, keep
from tools.benchmarks.report import page
from tools.benchmarks.summary import Summary, summary, three_digits
from tools.benchmarks.targets import targets
from v3.gateway.system import NginxMissing


def record(folder: Path, part: str, *rows: tuple[object, ...]) -> None:
    """Keep rows that have their values in the order of the part's columns."""
    named = [dict(zip(COLUMNS[part].split(), row, strict=True)) for row in rows]
    where = {"cpu": "a CPU", "cores": "2"}
    keep(folder, Record(part, "2026-11-21T10:00:00+00:00", "full", where, {"python": "3"}, named))


def server(entrance: str, rate: float, **more: Any) -> tuple[object, ...]:
    values: dict[str, object] = dict.fromkeys(COLUMNS["servers"].split(), 1.0)
    values |= {"round": 0, "entrance": entrance, "way": "upload", "megapixels": 0.3, "clients": 8}
    values |= {"answers": 100, "failed": 0, "rate": rate}
    values |= {"p50_ms": 10.0, "p99_ms": 20.0, "peak_mb": 100.0}
    return tuple((values | more).values())


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Return results of which each target can be worked out by heart."""
    large = {"megapixels": 12.0, "way": "url"}
    record(
        tmp_path,
        "servers",
        *(server("v1", rate, round=number) for number, rate in enumerate((60, 66, 90))),
        *(server("original_eager", 10, round=number, peak_mb=400.0) for number in range(3)),
        server("original_ours", 50),
        server("litserve_ours", 50, clients=1),
        server("bentoml_eager", 20, failed=1),
        server("limit", 100, way="file", clients=0),
        server("v1", 40, clients=1),
        server("v1", 64, clients=32, p99_ms=1000.0),
        server("v1", 64, clients=32, p99_ms=500.0, way="url"),  # not the worst
        server("v1", 64, way="url"),
        server("v1", 16, peak_mb=900.0, **large),
        server("original_eager", 2, **large),
        server("litserve_eager", 4, **large),
        server("v3_gateway", 40, clients=1, p50_ms=12.5),
        server("v3_direct", 40, clients=1),
    )
    lite0 = "efficientnet_lite0"
    record(tmp_path, "cold", (0, "ours", lite0, 1.5), (0, "original", lite0, 6.0))
    vgg16 = ((0, "vgg16", "openvino", "auto", 18.0), (0, "vgg16", "torch", "fp32", 100.0))
    record(tmp_path, "latency", *vgg16)
    right = {"torch": (440, 430), "auto": (441, 428), "int8": (434, 428)}
    sizes = enumerate((0.3, 1.7))
    rows = [
        (lite0, mp, way, 500, own[place], 480) for place, mp in sizes for way, own in right.items()
    ]
    record(tmp_path, "accuracy", *rows)
    return Results(tmp_path)


# By target: the result, and whether it is met with matrix units and without.
WORKED_OUT = {
    "original 0.3": (6.6, True, True),
    "original 12": (8, True, True),
    "peers 12": (4, False, False),
    "same_engine 8 32": (1.2, True, True),
    "same_engine 1": (0.8, False, False),
    "limit upload": (0.6, False, False),
    "limit url": (0.64, False, False),
    "growth": (4, False, False),
    "latency vgg16": (0.18, True, True),
    "accuracy auto": (0.4, True, True),
    "accuracy int8": (1.2, False, False),
    "tail": (2.0, False, False),
    "cold": (0.25, False, False),
    "memory": (0.25, True, True),
    "gateway": (2.5, True, True),
}


@pytest.mark.parametrize("target", targets(), ids=lambda target: str(target.id))
def test_each_target_has_its_result_or_none(target: Any, results: Results) -> None:
    worst = target.worst(results)
    if target.id not in WORKED_OUT:
        assert worst is None
        return
    value, *is_met = WORKED_OUT[target.id]
    assert worst[1].median == pytest.approx(value)
    assert [target.is_met(worst[1].median, kind) for kind in range(2)] == is_met


@pytest.mark.parametrize(("value", "is_met"), [(4.9, [False, True]), (3.9, [False, False])])
def test_bounds_with_matrix_units_and_without_are_two(value: float, is_met: list[bool]) -> None:
    (target,) = (target for target in targets() if target.id == "original 0.3")
    assert target.wanted == "at least 5, 4"
    assert [target.is_met(value, kind) for kind in range(2)] == is_met


def test_page_has_each_target_and_both_kinds_of_cpu(results: Results, tmp_path: Path) -> None:
    nothing = Results(tmp_path / "none")
    text = page([results, nothing])
    for target in targets():
        assert f"| {target.what} | {target.wanted} |" in text
    assert "| 6.60 (6.00 to 9.00); original_eager, upload, 8 clients | yes | not measured |" in text
    assert "## Servers, with matrix units" in text
    assert "## Servers, without" not in text
    assert page([nothing, nothing]).count("not measured") == 2 * len(targets())


def test_rows_with_a_failed_answer_are_left_out_and_named(results: Results) -> None:
    assert "bentoml_eager" not in {*results["servers"].entrance}
    assert "- bentoml_eager, upload, 0.3 MP, 8 clients, round 1: 1 of 100 failed" in page(
        [results, results]
    )


def test_best_arrangement_has_the_highest_median_of_all_the_work(tmp_path: Path) -> None:
    assert best_arrangement(Results(tmp_path)).loops == 1  # a usual one
    rates = {("whole", 2): (50, 52, 51), ("whole", 3): (90, 10, 9), ("engine", 4): (500,)}
    rows = [
        (number, work, "auto", 1, 1, 2, loops, rate, 0.01, 100.0)
        for (work, loops), several in rates.items()
        for number, rate in enumerate(several)
    ]
    record(tmp_path, "limit", *rows)
    assert best_arrangement(Results(tmp_path)).loops == 2


def test_summary_is_of_rounds_that_both_have_and_shows_their_range() -> None:
    above, below = pd.Series({0: 10, 1: 30, 2: 5}), pd.Series({0: 5, 1: 10, 2: 0, 7: 1})
    assert summary(above / below) == Summary(2.5, 2.0, 3.0, 2)
    assert summary(above[:2] - below[1:]) == Summary(20, 20, 20, 1)
    assert summary(above[:1] / below[1:]) is None
    assert str(summary([2])) == "2.00"
    assert str(summary([12.34, 123.4, 0.5])) == "12.3 (0.50 to 123)"
    assert three_digits(-12.34) == "-12.3"


@pytest.mark.parametrize(("flags", "amx"), [("avx2", "no"), ("avx2 amx_int8", "amx_int8")])
def test_machine_is_named_with_its_matrix_units(flags: str, amx: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: Some CPU\nflags\t\t: fpu {flags}\n")
    found = machine(tmp_path / "cpuinfo")
    assert (found["cpu"], found["instructions"], found["amx"]) == ("Some CPU", "avx2", amx)


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (Failed("wrk is not installed"), 1, "wrk is not installed"),
        (NginxMissing("nginx is not installed"), 1, "nginx is not installed"),
        (KeyboardInterrupt(), 130, "everything that was started is stopped"),
    ],
    ids=["it failed", "a program is missing", "interrupted"],
)
def test_command_that_does_not_end_well_says_why(
    raised: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert exit_status(Mock(side_effect=raised)) == status
    assert said in capsys.readouterr().err
