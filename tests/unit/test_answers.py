"""From results to the tables and figures in the texts, and to dollars."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.test_bench_report import record, server
from tools.benchmarks.answers import costs
from tools.benchmarks.answers.__main__ import NUMBERS, TABLES, WANTED, contents, main
from tools.benchmarks.answers.costs import TIER_1, TIER_2
from tools.benchmarks.records import Results
from tools.documents import filled


def rehearsal(folder: Path, **more: object) -> None:
    builds = [
        {
            "image": image,
            "seconds": seconds,
            "steps": {"build the app image": app_s},
            "megabytes": {"base": 130.0, "models": models_mb, "code": 0.5},
        }
        for image, seconds, app_s, models_mb in (
            ("backend_v1", 180.0, 139.0, 17.3),
            ("backend_v1", 20.0, 3.7, 17.3),
            ("v3_backend_resnet152", 60.0, 30.0, 200.0),
            ("v3_backend_vgg16", 60.0, 30.0, 100.0),
        )
    ]
    took_s = {"build backend_v1": 187.7, "deploy backend_v1": 11.2}
    took_s |= {"build v3_backend": 90.0, "deploy v3_backend": 20.0}
    steps = [{"name": name, "seconds": seconds} for name, seconds in took_s.items()]
    found = {"passed": True, "steps": steps, "builds": builds, **more}
    (folder / "rehearsal.json").write_text(json.dumps(found), encoding="utf-8")


IN_ENGLISH = {
    "builds-ratio": "9.00",
    "starts-ratio": "4.50",
    "http-ms": "5.50",
    "apart-memory": "2.00",
    "pool-rate": "20.5",
    "int8-agreement": "98.0",
}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Return results of which each table can be worked out by heart."""
    record(
        tmp_path,
        "servers",
        server("v1", 50.0, clients=1, p50_ms=20.0, peak_mb=200.0),
        server("v1", 64.0, p50_ms=125.0, peak_mb=200.0),
        server("v1", 90.0, clients=32),  # more than a container takes
        server("v1_int8", 96.0, p50_ms=80.0, peak_mb=150.0),
        server("v3_direct", 50.0, clients=1, p50_ms=20.0),
        server("v3_gateway", 46.0, clients=1, p50_ms=21.5),
    )
    ways = {("torch", "fp32"): 100.0, ("openvino", "fp32"): 60.0, ("openvino", "int8"): 20.0}
    record(tmp_path, "latency", *((0, "vgg16", *way, ms) for way, ms in ways.items()))
    lite0 = "efficientnet_lite0"
    record(tmp_path, "agreement", (lite0, 300, 294, 18.5, 5.1), plan="quick")
    rehearsal(tmp_path, taken="2026-11-21", machine={"cpu": "another", "cores": "4"})
    tables = "[tables]\nstarts = 'starts'\nstrategies = 'strategies'\njpegs = 'jpegs'\n"
    numbers = "".join(f"{name} = '{number}'\n" for name, number in IN_ENGLISH.items())
    (tmp_path / "measured_once.toml").write_text(f"{tables}[numbers]\n{numbers}")
    return Results(tmp_path)


LINES = {
    "builds": ["| all | 180 | 20.0 |", "| build the app image | 139 | 3.70 |"],
    "images": [
        "| backend_v1 | 148 | 130 | 17.3 | 0.50 | 139 |",
        "| v3_backend_vgg16 | 230 | 130 | 100 | 0.50 | 30.0 |",
    ],
    "apart": ["| backend_v1 | 1 | 188 | 11.2 | 148 |", "| v3_backend | 2 | 90.0 | 20.0 | 561 |"],
    "starts": ["starts"],
    "strategies": ["strategies"],
    "gateway": ["| upload | 1 | 20.0 | 21.5 | 1.50 | 50.0 | 46.0 |"],
    "int8": [
        "| vgg16 | 100 | 60.0 | 20.0 | 3.00 |  |  |",
        "| efficientnet_lite0 |  |  |  |  | 294 of 300 | 18.5 and 5.10 |",
        'Measured by `make bench PARTS="latency agreement"`; a CPU, 2 cores, 2026-11-21; '
        "a CPU, 2 cores, 2026-11-21, quick plan only.",
    ],
    "int8-servers": ["| upload | 8 | 64.0 | 96.0 | 1.50 | 125 | 80.0 | 200 | 150 |"],
    "stages": ["jpegs"],
    "costs": [
        # 1000 answers at 50 a second; 0.01 s of CPU each; 1e6 / 64 s of 0.0000742 $, and 0.40 $.
        "| v1, fp32 | one after the other | 20.0 | 10.0 | 75 % | 200 | 1.88 | 1.46 |",
        "| v1, fp32 | 8 at once | 15.6 | 10.0 | 68 % | 200 | 1.56 | 1.23 |",
        "| v1, fp32 | each alone, with a pause between | 100 | 10.0 | 95 % | 200 | 7.82 | 5.70 |",
        "Measured by `make bench PARTS=servers`; a CPU, 2 cores, 2026-11-21.",
    ],
}


@pytest.mark.parametrize("name", TABLES)
def test_each_table_says_what_was_measured_and_how(name: str, results: Results) -> None:
    lines = contents(results, [name])[name].splitlines()
    assert [line for line in LINES[name] if line not in lines] == []
    is_rehearsed = name in {"builds", "images", "apart"}
    assert lines[-1].startswith("Measured by `make rehearse" if is_rehearsed else "Measured by ")
    assert not is_rehearsed or lines[-1].endswith("; another, 4 cores, 2026-11-21.")


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_has_a_comma_in_french(name: str, results: Results) -> None:
    number = IN_ENGLISH[name]
    found = contents(results, [name, f"{name}-fr"])
    assert found == {name: number, f"{name}-fr": number.replace(".", ",")}


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    rehearsal(tmp_path, passed=False)  # counts as none
    nothing = Results(tmp_path)
    tables = contents(nothing, [*TABLES])
    assert {text.partition(": ")[0] for text in tables.values()} == {"Not measured yet"}
    for name in NUMBERS:
        found = contents(nothing, [name, f"{name}-fr"])
        assert [*found.values()] == ["(not measured yet)", "(pas encore mesuré)"]


def test_prices_are_what_was_worked_out_by_hand() -> None:
    # 2 vCPUs at 24 and 2 GiB at 2.5 millionths are 53 millionths a second; 10 ms each make 0.53 $.
    assert TIER_1.per_million(0.01) == pytest.approx(0.53 + 0.40)
    assert TIER_2.per_million(0.1) == pytest.approx(7.42 + 0.40)
    # A month of 730 hours has 2,628,000 seconds, each of them 4 times 2.5 or 3.5 millionths.
    assert TIER_1.warm_month() == pytest.approx(26.28)
    assert TIER_2.warm_month() == pytest.approx(36.792)
    # One container for 2,628,000 s at 53 millionths, and 26.28 million requests at 0.40 $.
    assert TIER_1.month(10, 0.1, 0.02) == pytest.approx(139.284 + 10.512)


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.001, 0.1), (0.1, 0.1), (0.1001, 0.2), (0.3, 0.3), (1.95, 2.0)]
)
def test_request_that_comes_alone_is_rounded_up(seconds: float, billed: float) -> None:
    assert costs.rounded_up_s(seconds) == pytest.approx(billed)


# A tenth of each second; always one; which could do more; then two, each of which does 50 a second.
@pytest.mark.parametrize(("load", "billed"), [(1, 0.1), (10, 1), (40, 1), (100, 2)])
def test_containers_are_billed_by_time_first_and_then_by_their_number(
    load: float, billed: float
) -> None:
    assert costs.containers(load, alone_s=0.1, full_s=0.02) == pytest.approx(billed)


def test_containers_are_those_of_the_table_of_components(root: Path) -> None:
    table = (root / "deployment" / "components.sh").read_text(encoding="utf-8")
    (values,) = re.findall(r"side=backend .*\n *export (.*?) timeout", table)
    wanted = f"cpu={costs.VCPUS} memory={costs.MEMORY_GIB}Gi concurrency={costs.CONCURRENCY}"
    assert values == wanted


TEXT = "a\n<!-- k:x -->\nold\n<!-- /k:x -->\nis <!-- k:n -->7<!-- /k:n --> times\n"


def test_mark_that_ends_its_line_has_lines_of_its_own_and_any_other_its_sentence() -> None:
    new = "a\n<!-- k:x -->\nnew\n<!-- /k:x -->\nis <!-- k:n -->8<!-- /k:n --> times\n"
    assert filled(TEXT, "k", {"x": "new", "n": "8"}) == new


@pytest.mark.parametrize("text", ["none", TEXT, "<!-- k:x -->", "<!-- /k:x --><!-- k:x -->"])
def test_mark_that_is_missing_out_of_order_or_unknown_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"<!-- k:[xn] -->"):
        filled(text, "k", {"x": "new"})


def test_make_answers_writes_both_texts_or_none(
    tmp_path: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    del results  # in the folder
    paths = [tmp_path / name for name in WANTED]
    for path, wanted in zip(paths, WANTED.values(), strict=True):
        marks = [f"<!-- figures:{mark} -->\n<!-- /figures:{mark} -->\n" for mark in wanted]
        path.write_text("\n".join(marks), encoding="utf-8")
    arguments = ["--results", str(tmp_path), "--texts", str(tmp_path)]
    for _ in range(2):
        assert main(arguments) == 0
        for path, name in zip(paths, ("builds", "costs"), strict=True):
            assert path.read_text(encoding="utf-8").count(LINES[name][0]) == 1
    before = paths[0].read_text(encoding="utf-8").replace("| all | 180", "old")
    paths[0].write_text(before, encoding="utf-8")
    paths[1].write_text("# Title\n", encoding="utf-8")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("README.md: the text needs <!-- figures:costs -->")
    assert paths[0].read_text(encoding="utf-8") == before
