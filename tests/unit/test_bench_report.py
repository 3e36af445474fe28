"""From rows to the table of targets, and what commands that measure or attack see to before."""

import resource
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from tools.attack import __main__ as attack
from tools.benchmarks.__main__ import PAGE, WITH, WITHOUT
from tools.benchmarks.alone import best_arrangement
from tools.benchmarks.plan import RESULTS
from tools.benchmarks.programs import exit_status
from tools.benchmarks.report import page, targets
from tools.benchmarks.results import (
    COLUMNS,
    Record,
    Results,
    Summary,
    machine,
    summary,
    three_digits,
)
from tools.process import Failed
from v3.gateway.serve import NginxMissing


def record(folder: Path, part: str, *rows: tuple[object, ...]) -> None:
    """Keep rows that have their values in the order of the part's columns."""
    named = [dict(zip(COLUMNS[part].split(), row, strict=True)) for row in rows]
    where = {"cpu": "a CPU", "cores": "2"}
    taken = "2026-11-21T10:00:00+00:00"
    Record(part, taken, "full", where, {"python": "3"}, named).keep(folder)


def test_page_is_that_of_the_results() -> None:
    """Each target with its worst result, and each table; ``tools.benchmarks report`` writes it."""
    found = [Results(RESULTS / kind) for kind in (WITH, WITHOUT)]
    assert page(found) == (RESULTS / PAGE).read_text(encoding="utf-8")


def test_rows_with_a_failed_answer_are_left_out_and_named(tmp_path: Path) -> None:
    asked, counted = (0, "v1", "url", 0.3, 8), (1.0,) * 6
    record(tmp_path, "servers", (*asked, 100, 0, *counted), (*asked, 100, 1, *counted))
    results = Results(tmp_path)
    assert [*results["servers"].failed] == [0]
    text = page([results, Results(tmp_path / "none")])
    assert "- v1, url, 0.3 MP, 8 clients, round 1: 1 of 100 failed" in text
    assert "## Servers, with matrix units" in text
    assert "## Servers, without" not in text


def test_memory_is_the_most_of_each_round(tmp_path: Path) -> None:
    peaks_mb = (("v1", 100.0), ("v1", 50.0), ("original_eager", 400.0), ("original_eager", 40.0))
    asked = ("url", 0.3, 8, 100, 0, *(1.0,) * 5)
    record(tmp_path, "servers", *((0, name, *asked, peak_mb) for name, peak_mb in peaks_mb))
    worst = targets()["memory"].worst("memory", Results(tmp_path))
    assert worst == ("", Summary(0.25, 0.25, 0.25, 1))


def test_best_arrangement_has_the_highest_median_of_all_the_work(tmp_path: Path) -> None:
    assert best_arrangement(Results(tmp_path)).loops == 1  # a usual one
    rates = {("whole", 2): (50, 52, 51), ("whole", 3): (90, 10, 9), ("engine", 4): (500,)}
    rows = [
        (number, work, "auto", 1, 2, loops, rate, 0.01, 100.0)
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


@pytest.mark.parametrize("raised", [Failed("no wrk"), NginxMissing("no nginx")], ids=str)
def test_command_that_does_not_end_well_says_why(
    raised: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert exit_status(Mock(side_effect=raised)) == 1
    assert str(raised) in capsys.readouterr().err


def test_a_thousand_callers_call_also_where_a_shell_allows_fewer_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attack, "require_programs", lambda: None)
    monkeypatch.setattr(attack, "ATTACKS", {"none": ("None", lambda _: iter(()))})
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 20_000))
    monkeypatch.setattr("resource.setrlimit", limit := Mock())
    assert attack.run(attack.arguments([])) == 0
    limit.assert_called_once_with(resource.RLIMIT_NOFILE, (20_000, 20_000))
