"""From rows to the table of targets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.benchmarks import targets
from tools.benchmarks.parts import agreement, asking, cold, latency, limit
from tools.benchmarks.parts import growth as growing
from tools.benchmarks.plan import PLANS
from tools.benchmarks.record import Record, keep
from tools.benchmarks.report import best, page
from tools.benchmarks.report.growth import growth
from tools.benchmarks.report.measured import Measured
from tools.benchmarks.report.results import results
from tools.benchmarks.spread import Spread, difference, ratio, shown


def _record(part: str, rows: list[object]) -> Record:
    return Record(part, "2026-11-21T00:00:00+00:00", "full", {"cpu": "x"}, {"python": "3"}, rows)


def _server(entrance: str, rate: float, round: int = 0, **more: object) -> asking.Row:  # noqa: A002
    values: dict[str, object] = {
        "round": round,
        "entrance": entrance,
        "way": "upload",
        "clients": 8,
        "answers": 100,
        "failed": 0,
        "seconds": 1.0,
        "rate": rate,
        "p50_ms": 10.0,
        "p99_ms": 20.0,
        "server_cpu_s": 2.0,
        "generator_cpu_s": 0.1,
        "host_cpu_s": 0.1,
        "peak_mb": 100.0,
    }
    return asking.Row(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of results of which each target can be told by heart."""
    rows = {
        "servers": [
            *(_server("v1", rate, each) for each, rate in enumerate((60, 66, 90))),
            *(_server("original_eager", 10, each, peak_mb=400.0) for each in range(3)),
            _server("original_ours", 50),
            _server("bentoml_eager", 20, failed=1),
            _server("limit", 100, way="file", clients=0),
            _server("bare", 100, way="file", clients=0, p50_ms=8.0),
            _server("v1", 40, clients=1),
            _server("v1", 64, clients=32, p99_ms=1000.0),
            _server("v3_gateway", 40, clients=1, p50_ms=12.5),
            _server("v3_direct", 40, clients=1),
        ],
        "cold": [
            cold.Row(0, "ours", "efficientnet_lite0", 1.5),
            cold.Row(0, "original", "efficientnet_lite0", 6.0),
        ],
        "latency": [
            latency.Row(0, "vgg16", "openvino", "fp32", 60.0),
            latency.Row(0, "vgg16", "torch", "fp32", 100.0),
        ],
        "agreement": [agreement.Row("efficientnet_lite0", 100, 96, 18.5, 5.1)],
    }
    for part, found in rows.items():
        keep(tmp_path, _record(part, list(found)))
    return tmp_path


RESULTS = {
    "peers": (6.6, True),
    "same_engine": (1.2, True),
    "limit_upload": (0.6, False),
    "alone": (1.25, True),
    "tail": (2.0, False),
    "cold": (0.25, False),
    "memory": (0.25, True),
    "int8_agreement": (0.96, False),
    "latency_vgg16_fp32": (0.6, True),
    "gateway": (2.5, True),
}


@pytest.mark.parametrize("identity", [target.id for target in targets.TARGETS])
def test_each_target_has_its_result_or_says_that_it_was_not_measured(
    identity: str, folder: Path
) -> None:
    result = results(Measured.read(folder))[identity]
    if identity not in RESULTS:
        assert result is None
        return
    assert result is not None
    value, is_met = RESULTS[identity]
    target = next(each for each in targets.TARGETS if each.id == identity)
    assert result.spread.median == pytest.approx(value)
    assert target.is_met(result.spread.median) == is_met


def test_the_page_has_a_row_for_each_target(folder: Path) -> None:
    text = page.page(folder)
    for target in targets.TARGETS:
        assert f"| {target.what} | {target.wanted} |" in text
    assert "6.60 (6.00 to 9.00); original, upload, 8 clients" in text


def test_rows_with_a_failed_answer_are_left_out_and_named(folder: Path) -> None:
    assert "bentoml_eager" not in {row.entrance for row in Measured.read(folder).servers}
    assert "- bentoml_eager, upload, 8 clients, round 1: 1 of 100 failed" in page.page(folder)


def test_a_target_that_is_missed_has_its_note(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes.toml"
    notes.write_text('cold = "Python starts slowly."\npeers = "Not shown: it is met."\n')
    monkeypatch.setattr(page, "NOTES", notes)
    text = page.page(folder)
    assert "| **no** | Python starts slowly. |" in text
    assert "Not shown" not in text


def test_every_note_is_about_a_target() -> None:
    assert page.notes().keys() <= {target.id for target in targets.TARGETS}


def test_a_page_about_nothing_says_that_nothing_was_measured(tmp_path: Path) -> None:
    assert page.page(tmp_path).count("not measured") == len(targets.TARGETS)


def test_the_best_arrangement_is_the_one_with_the_highest_median(tmp_path: Path) -> None:
    def row(number: int, loops: int, rate: float, work: str = "whole") -> limit.Row:
        return limit.Row(number, work, "fp32", 1, 1, 2, loops, rate, 0.01, 100.0, "cat")

    rows = [row(0, 2, 50), row(1, 2, 52), row(2, 2, 51), row(0, 3, 90), row(1, 3, 10), row(2, 3, 9)]
    keep(tmp_path, _record("limit", [*rows, row(0, 4, 500, "engine")]))
    assert best.best_arrangement(tmp_path).loops == 2


def test_without_a_limit_the_usual_arrangement_is_taken(tmp_path: Path) -> None:
    assert best.best_arrangement(tmp_path).loops > 1


def test_growth_is_said_in_a_line_each(folder: Path) -> None:
    def row(what: str, amount: float, p50_ms: float, memory_mb: float) -> growing.Row:
        return growing.Row(what, amount, 10.0, p50_ms, 99.0, memory_mb, 0, amount * 20)

    rows = [row("models", each, 10.0, 50 + 30 * each) for each in (1, 2, 3)]
    rows += [row("megapixels", each, 5 + 7 * each, 100.0) for each in (1, 12)]
    keep(folder, _record("growth", list(rows)))
    lines, table = growth(Measured.read(folder))
    assert "memory is 50.0 MB and 1.50 MB for each MB of weights" in lines
    assert "p50 is 5.00 ms and 7.00 ms for each megapixel" in lines
    assert "Clients" not in lines
    assert table.count("\n| ") == len(rows) + 1


def test_ratios_and_differences_are_of_rounds_that_both_have() -> None:
    assert ratio({0: 10, 1: 30, 2: 5}, {0: 5, 1: 10, 7: 1}) == Spread(2.5, 2.0, 3.0, 2)
    assert difference({0: 10, 1: 30}, {1: 10}) == Spread(20, 20, 20, 1)
    assert ratio({0: 1}, {1: 1}) is None
    assert difference({}, {}) is None


def test_a_spread_of_one_round_is_shown_without_a_range() -> None:
    assert str(Spread.of([2])) == "2.00"
    assert str(Spread.of([12.34, 123.4, 0.5])) == "12.3 (0.50 to 123)"
    assert shown(-12.34) == "-12.3"


def test_only_the_full_plan_is_kept() -> None:
    assert [plan.name for plan in PLANS.values() if plan.is_kept] == ["full"]
