"""From rows to the table of targets."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tools.benchmarks.machine import machine
from tools.benchmarks.parts.limit import best_arrangement
from tools.benchmarks.plan import FULL
from tools.benchmarks.records import COLUMNS, Record, Results, keep
from tools.benchmarks.report import page
from tools.benchmarks.summary import Summary, difference, ratio, three_digits
from tools.benchmarks.targets import targets


def record(folder: Path, part: str, *rows: tuple[object, ...], plan: str = FULL) -> None:
    """Keep rows that have their values in the order of the part's columns."""
    named = [dict(zip(COLUMNS[part].split(), row, strict=True)) for row in rows]
    where = {"cpu": "a CPU", "cores": "2"}
    keep(folder, Record(part, "2026-11-21T10:00:00+00:00", plan, where, {"python": "3"}, named))


def server(entrance: str, rate: float, **more: Any) -> tuple[object, ...]:
    values: dict[str, object] = dict.fromkeys(COLUMNS["servers"].split(), 1.0)
    values |= {"round": 0, "entrance": entrance, "way": "upload", "clients": 8, "answers": 100}
    values |= {"failed": 0, "rate": rate, "p50_ms": 10.0, "p99_ms": 20.0, "peak_mb": 100.0}
    return tuple((values | more).values())


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Return results of which each target can be worked out by heart."""
    loop = {"way": "file", "clients": 0}
    record(
        tmp_path,
        "servers",
        *(server("v1", rate, round=number) for number, rate in enumerate((60, 66, 90))),
        *(server("original_eager", 10, round=number, peak_mb=400.0) for number in range(3)),
        server("original_ours", 50),
        server("bentoml_eager", 20, failed=1),
        server("limit", 100, **loop),
        server("bare", 100, p50_ms=8.0, **loop),
        server("v1", 40, clients=1),
        server("v1", 64, clients=32, p99_ms=1000.0),
        server("v1", 64, clients=32, p99_ms=500.0, way="url"),  # not the worst
        server("v3_gateway", 40, clients=1, p50_ms=12.5),
        server("v3_direct", 40, clients=1),
    )
    lite0 = "efficientnet_lite0"
    record(tmp_path, "cold", (0, "ours", lite0, 1.5), (0, "original", lite0, 6.0))
    vgg16 = ((0, "vgg16", "openvino", "fp32", 60.0), (0, "vgg16", "torch", "fp32", 100.0))
    record(tmp_path, "latency", *vgg16)
    record(tmp_path, "agreement", (lite0, 100, 96, 18.5, 5.1))
    return Results(tmp_path)


# By target: the result, and whether it is met.
WORKED_OUT = {
    "peers": (6.6, True),
    "same_engine": (1.2, True),
    "limit_upload": (0.6, False),
    "limit_url": (0.64, False),
    "alone": (1.25, True),
    "tail": (2.0, False),
    "cold": (0.25, False),
    "memory": (0.25, True),
    "int8_agreement": (0.96, False),
    "latency_vgg16_fp32": (0.6, True),
    "gateway": (2.5, True),
}


@pytest.mark.parametrize("target", targets(), ids=lambda target: str(target.id))
def test_each_target_has_its_result_or_none(target: Any, results: Results) -> None:
    worst = target.worst(results)
    if target.id not in WORKED_OUT:
        assert worst is None
        return
    value, is_met = WORKED_OUT[target.id]
    assert worst[1].median == pytest.approx(value)
    assert target.is_met(worst[1].median) == is_met


def test_page_has_a_row_for_each_target_with_a_note_where_it_is_missed(results: Results) -> None:
    text = page(results)
    for target in targets():
        assert f"| {target.what} | {target.wanted} |" in text
        is_missed = not WORKED_OUT.get(target.id, (0, False))[1]
        assert not target.note or (target.note in text) == is_missed
    assert "| 6.60 (6.00 to 9.00); original, upload, 8 clients | yes |" in text


def test_rows_with_a_failed_answer_are_left_out_and_named(results: Results) -> None:
    assert "bentoml_eager" not in {*results["servers"].entrance}
    assert "- bentoml_eager, upload, 8 clients, round 1: 1 of 100 failed" in page(results)


def test_page_about_nothing_says_that_nothing_was_measured(tmp_path: Path) -> None:
    assert page(Results(tmp_path)).count("not measured") == len(targets())


def test_best_arrangement_has_the_highest_median_of_all_the_work(tmp_path: Path) -> None:
    assert best_arrangement(Results(tmp_path)).loops == 1  # a usual one
    rates = {("whole", 2): (50, 52, 51), ("whole", 3): (90, 10, 9), ("engine", 4): (500,)}
    rows = [
        (number, work, "fp32", 1, 1, 2, loops, rate, 0.01, 100.0)
        for (work, loops), several in rates.items()
        for number, rate in enumerate(several)
    ]
    record(tmp_path, "limit", *rows)
    assert best_arrangement(Results(tmp_path)).loops == 2


def test_ratios_and_differences_are_of_rounds_that_both_have() -> None:
    above, below = pd.Series({0: 10, 1: 30, 2: 5}), pd.Series({0: 5, 1: 10, 2: 0, 7: 1})
    assert ratio(above, below) == Summary(2.5, 2.0, 3.0, 2)
    assert difference(above[:2], below[1:]) == Summary(20, 20, 20, 1)
    assert ratio(above[:1], below[1:]) is None


def test_summary_shows_its_range_where_there_were_several_rounds() -> None:
    assert str(Summary.of([2])) == "2.00"
    assert str(Summary.of([12.34, 123.4, 0.5])) == "12.3 (0.50 to 123)"
    assert three_digits(-12.34) == "-12.3"


@pytest.mark.parametrize(("flags", "amx"), [("avx2", "no"), ("avx2 amx_int8", "amx_int8")])
def test_machine_is_named_with_its_matrix_units(flags: str, amx: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: Some CPU\nflags\t\t: fpu {flags}\n")
    found = machine(tmp_path / "cpuinfo")
    assert (found["cpu"], found["instructions"], found["amx"]) == ("Some CPU", "avx2", amx)
