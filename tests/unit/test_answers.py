"""From results to the tables and figures in the texts, and to dollars."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from tools.benchmarks.answers import costs, figures
from tools.benchmarks.answers.__main__ import README, SHORT_ANSWER, WANTED, main, with_figures
from tools.benchmarks.answers.prices import TIER_1, TIER_2
from tools.benchmarks.answers.results import Results
from tools.benchmarks.parts import agreement, asking, latency, stages, starts, strategies
from tools.benchmarks.record import Record, keep
from tools.documents import filled, names

MACHINE = {"cpu": "a CPU", "cores": "2"}
TAKEN = "2026-11-21T10:00:00+00:00"
SMALL = ["efficientnet_lite0", "efficientnet_lite1"]


def record(folder: Path, part: str, *rows: msgspec.Struct, plan: str = "full") -> None:
    keep(folder, Record(part, TAKEN, plan, MACHINE, {}, list(rows)))


def server(entrance: str, clients: int, p50_ms: float, rate: float, **more: object) -> asking.Row:
    values: dict[str, object] = {
        "round": 0,
        "entrance": entrance,
        "way": "upload",
        "clients": clients,
        "answers": 100,
        "failed": 0,
        "seconds": 1.0,
        "rate": rate,
        "p50_ms": p50_ms,
        "p99_ms": 2 * p50_ms,
        "server_cpu_s": 1.0,
        "generator_cpu_s": 0.0,
        "host_cpu_s": 0.0,
        "peak_mb": 200.0,
    }
    return asking.Row(**{**values, **more})  # type: ignore[arg-type]


def strategy(name: str, rate: float, peak_mb: float, loads: int, round: int = 0) -> strategies.Row:  # noqa: A002
    return strategies.Row(round, name, SMALL, "small", 8, 100, 0, rate, 10.0, 30.0, peak_mb, loads)


def build(image: str, seconds: float, app_s: float, models_mb: float) -> dict[str, object]:
    return {
        "id": "1",
        "image": image,
        "seconds": seconds,
        "steps": {"build the base image": seconds / 4, "build the app image": app_s},
        "megabytes": {"base": 130.0, "models": models_mb, "code": 0.5},
    }


def rehearsal(folder: Path, *, passed: bool = True, **more: object) -> None:
    steps = {"build backend_v1": 187.7, "deploy backend_v1": 11.2, "build v3_backend": 90.0}
    found = {
        "passed": passed,
        "steps": [{"name": name, "seconds": seconds} for name, seconds in steps.items()]
        + [{"name": "deploy v3_backend", "seconds": 20.0}],
        "builds": [
            build("backend_v1", 180.0, 139.0, 17.3),
            build("backend_v1", 20.0, 3.7, 17.3),
            build("v3_backend_resnet152", 60.0, 30.0, 200.0),
            build("v3_backend_vgg16", 60.0, 30.0, 100.0),
        ],
        **more,
    }
    (folder / "rehearsal.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.fixture
def measured(tmp_path: Path) -> Results:
    """Return results of which each table can be told by heart."""
    record(
        tmp_path,
        "servers",
        server("v1", 1, 20.0, 50.0),
        server("v1", 8, 125.0, 64.0),
        server("v1_int8", 8, 80.0, 96.0, peak_mb=150.0),
        server("v3_direct", 1, 20.0, 50.0),
        server("v3_gateway", 1, 21.5, 46.0),
    )
    record(
        tmp_path,
        "starts",
        starts.Row(0, "in the image", "resnet152", 2.0, 0.0),
        starts.Row(0, "original: downloaded at start", "resnet152", 9.0, 240.0),
        starts.Row(0, "in the image", "efficientnet_lite0", 1.0, 0.0),
        starts.Row(0, "original: downloaded at start", "efficientnet_lite0", 8.0, 0.0),
    )
    record(
        tmp_path,
        "strategies",
        *(strategy("load per request", 2.0, 300.0, 100, each) for each in range(3)),
        *(strategy("pool for all", 40.0 + each, 320.0, 0, each) for each in range(3)),
        *(strategy("one per container", 38.0, 640.0, -1, each) for each in range(3)),
    )
    record(
        tmp_path,
        "latency",
        latency.Row(0, "vgg16", "torch", "fp32", 100.0),
        latency.Row(0, "vgg16", "openvino", "fp32", 60.0),
        latency.Row(0, "vgg16", "openvino", "int8", 20.0),
    )
    record(
        tmp_path,
        "agreement",
        agreement.Row("efficientnet_lite0", 300, 294, 18.5, 5.1),
        plan="quick",
    )
    who = ("efficientnet_lite0", "openvino", "fp32")
    record(
        tmp_path,
        "stages",
        stages.Row(*who, 12.0, "jpeg", 3_000_000, 5.0, 60.0, 25.0, 10.0, 7.0),
        stages.Row(*who, 0.1, "jpeg", 33_000, 1.0, 1.0, 2.0, 12.0, 5.5),
        stages.Row(*who, 0.1, "webp", 33_000, 1.0, 9.0, 2.0, 12.0, 1.5),
        stages.Row("vgg16", "openvino", "fp32", 0.1, "jpeg", 33_000, 1.0, 1.0, 2.0, 90.0),
    )
    rehearsal(tmp_path, taken=TAKEN, machine={"cpu": "another", "cores": "4"})
    return Results.read(tmp_path)


@pytest.fixture
def nothing(tmp_path: Path) -> Results:
    """Return the results of an empty folder."""
    return Results.read(tmp_path / "nothing")


OFFERED, RATE = "small: efficientnet_lite0, efficientnet_lite1", "2.00 (2.00 to 2.00)"
LINES = {
    "builds": ["| all | 180 | 20.0 |", "| build the app image | 139 | 3.70 |"],
    "images": [
        "| backend_v1 | 148 | 130 | 17.3 | 0.50 | 139 |",
        "| v3_backend_vgg16 | 230 | 130 | 100 | 0.50 | 30.0 |",
    ],
    "apart": [
        "| backend_v1 | 1 | 188 | 11.2 | 148 |",
        "| v3_backend | 2 | 90.0 | 20.0 | 561 |",
    ],
    "starts": [
        "| resnet152 | in the image | 2.00 | 0.00 |",
        "| resnet152 | original: downloaded at start | 9.00 | 240 |",
    ],
    "strategies": [
        f"| {OFFERED} | 8 | load per request | {RATE} | 10.0 | 30.0 | 300 | 1.00 | 0 |",
        f"| {OFFERED} | 8 | pool for all | 41.0 (40.0 to 42.0) | 10.0 | 30.0 | 320 | 0.00 | 0 |",
    ],
    "gateway": ["| upload | 1 | 20.0 | 21.5 | 1.50 | 50.0 | 46.0 |"],
    "int8": [
        "| vgg16 | 100 | 60.0 | 20.0 | 3.00 |  |  |",
        "| efficientnet_lite0 |  |  |  |  | 294 of 300 | 18.5 and 5.10 |",
    ],
    "int8-servers": ["| upload | 8 | 64.0 | 96.0 | 1.50 | 125 | 80.0 | 200 | 150 |"],
    "stages": [
        "| 12 | 5.00 | 60.0 | 25.0 | 10.0 | 10 % |",
        "| 0.1 | 1.00 | 1.00 | 2.00 | 12.0 | 75 % |",
    ],
    "costs": [
        # 1000 answers at 50 a second; 0.01 s of CPU each; 1e6 / 64 s of 0.0000742 $, and 0.40 $.
        "| v1, fp32 | one after the other | 20.0 | 10.0 | 75 % | 200 | 1.88 | 1.46 |",
        "| v1, fp32 | 8 at once | 15.6 | 10.0 | 68 % | 200 | 1.56 | 1.23 |",
        "| v1, fp32 | each alone, with a pause between | 100 | 10.0 | 95 % | 200 | 7.82 | 5.70 |",
    ],
}


@pytest.mark.parametrize("name", figures.TABLES)
def test_each_table_says_what_was_measured_and_how(name: str, measured: Results) -> None:
    content = figures.contents(measured, [name])[name]
    for line in LINES[name]:
        assert line in content.splitlines()
    last = content.splitlines()[-1]
    assert last.startswith(f"Measured by `make {'rehearse' if 'another' in last else 'bench'} ")
    assert last.count("cores, 2026-11-21") in {1, 2}


NUMBERS = {
    "builds-ratio": "9.00",
    "starts-ratio": "4.50",  # the largest model's
    "http-ms": "5.50",
    "apart-memory": "2.00",
    "pool-rate": "20.5",
    "int8-agreement": "98.0",
}


@pytest.mark.parametrize("name", figures.NUMBERS)
def test_each_number_has_a_comma_in_french(name: str, measured: Results) -> None:
    found = figures.contents(measured, [name, f"{name}-fr"])
    assert found == {name: NUMBERS[name], f"{name}-fr": NUMBERS[name].replace(".", ",")}


@pytest.mark.parametrize("name", figures.TABLES)
def test_a_table_without_results_says_how_to_measure(name: str, nothing: Results) -> None:
    command = "make rehearse" if figures.TABLES[name].parts == ("rehearsal",) else "make bench"
    assert figures.contents(nothing, [name])[name].startswith(f"Not measured yet: `{command}")


@pytest.mark.parametrize("name", figures.NUMBERS)
def test_a_number_without_results_says_so_in_both_languages(name: str, nothing: Results) -> None:
    found = figures.contents(nothing, [name, f"{name}-fr"])
    assert list(found.values()) == ["(not measured yet)", "(pas encore mesuré)"]


def test_parts_of_another_plan_or_not_measured_are_told(tmp_path: Path, measured: Results) -> None:
    said = figures.contents(measured, ["int8"])["int8"]
    assert said.endswith("a CPU, 2 cores, 2026-11-21, quick plan only.")
    (tmp_path / "latency.json").unlink()
    said = figures.contents(Results.read(tmp_path), ["int8"])["int8"]
    assert "; latency has not been measured yet; a CPU" in said


def test_a_rehearsal_that_failed_counts_as_none(tmp_path: Path) -> None:
    rehearsal(tmp_path, passed=False)
    assert Results.read(tmp_path).rehearsal is None


def test_a_rehearsal_that_says_neither_when_nor_where_is_shown_all_the_same(tmp_path: Path) -> None:
    rehearsal(tmp_path)
    said = figures.contents(Results.read(tmp_path), ["apart"])["apart"]
    assert said.endswith('`make rehearse ARGS="--json tools/benchmarks/results/rehearsal.json"`.')


def test_a_single_build_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    rehearsal(tmp_path, builds=[build("backend_v1", 180.0, 139.0, 17.3)])
    assert figures.contents(Results.read(tmp_path), ["builds"])["builds"].startswith("Not measured")


def test_a_million_answers_are_what_was_worked_out_by_hand() -> None:
    # 2 vCPUs at 24 and 2 GiB at 2.5 millionths are 53 millionths a second; 10 ms each make 0.53 $.
    assert costs.per_million(0.01, TIER_1) == pytest.approx(0.53 + 0.40)
    # 2 at 33.6 and 2 at 3.5 are 74.2 millionths.
    assert costs.per_million(0.1, TIER_2) == pytest.approx(7.42 + 0.40)


def test_a_container_kept_warm_is_what_was_worked_out_by_hand() -> None:
    # A month of 730 hours has 2,628,000 seconds, each of them 4 times 2.5 or 3.5 millionths.
    assert costs.warm_month(TIER_1) == pytest.approx(26.28)
    assert costs.warm_month(TIER_2) == pytest.approx(36.792)


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.001, 0.1), (0.1, 0.1), (0.1001, 0.2), (0.3, 0.3), (1.95, 2.0)]
)
def test_a_request_that_comes_alone_is_rounded_up(seconds: float, billed: float) -> None:
    assert costs.rounded_up_s(seconds) == pytest.approx(billed)


@pytest.mark.parametrize(
    ("load", "billed"),
    [
        (1, 0.1),  # a tenth of each second
        (10, 1),  # one is always billed
        (40, 1),  # and could do more
        (100, 2),  # each does 50 a second
    ],
)
def test_containers_are_billed_by_time_first_and_then_by_their_number(
    load: float, billed: float
) -> None:
    assert costs.containers(load, alone_s=0.1, full_s=0.02) == pytest.approx(billed)


def test_a_month_is_its_containers_and_its_requests() -> None:
    # One container for 2,628,000 s at 53 millionths, and 26.28 million requests at 0.40 $.
    assert costs.month(10, 0.1, 0.02, TIER_1) == pytest.approx(139.284 + 10.512)


def test_more_clients_than_a_container_takes_do_not_count(tmp_path: Path) -> None:
    rows = (server("v1", 1, 20.0, 50.0), server("v1", 8, 80.0, 60.0), server("v1", 32, 90.0, 90.0))
    record(tmp_path, "servers", *rows)
    assert [use.load for use in costs.uses(Results.read(tmp_path), "v1")][-1] == "8 at once"


def test_containers_are_those_of_the_table_of_components(root: Path) -> None:
    table = (root / "deployment" / "components.sh").read_text(encoding="utf-8")
    (values,) = re.findall(r"side=backend .*\n *export (.*?) timeout", table)
    wanted = f"cpu={costs.VCPUS} memory={costs.MEMORY_GIB}Gi concurrency={costs.CONCURRENCY}"
    assert values == wanted


TEXT = "a\n<!-- k:x -->\nold\n<!-- /k:x -->\nis <!-- k:n -->7<!-- /k:n --> times\n"


def test_a_mark_that_ends_its_line_has_lines_of_its_own_and_any_other_its_sentence() -> None:
    assert names(TEXT, "k") == ["x", "n"]
    assert filled(TEXT, "k", {"x": "new", "n": "8"}) == (
        "a\n<!-- k:x -->\nnew\n<!-- /k:x -->\nis <!-- k:n -->8<!-- /k:n --> times\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("none", "the text needs <!-- k:x --> and <!-- /k:x -->, each once"),
        (TEXT.replace("k:n", "k:x"), "the text needs <!-- k:x --> and"),
        ("<!-- k:x -->", "the text needs <!-- k:x --> and"),
        ("<!-- /k:x --><!-- k:x -->", "in this order"),
        (TEXT, "nothing is known to go after <!-- k:n -->"),
    ],
)
def test_a_mark_that_is_missing_doubled_or_unknown_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        filled(text, "k", {"x": "new"})


def test_a_wanted_figure_without_its_mark_is_named(nothing: Results) -> None:
    with pytest.raises(ValueError, match="<!-- figures:costs -->"):
        with_figures("# Title\n", WANTED[README], nothing)


def test_a_figure_that_nobody_knows_is_named(nothing: Results) -> None:
    with pytest.raises(ValueError, match="<!-- figures:nonsense -->"):
        with_figures("<!-- figures:nonsense --><!-- /figures:nonsense -->", (), nothing)


def test_make_answers_writes_both_texts_and_then_leaves_them(
    tmp_path: Path, measured: Results
) -> None:
    for name, wanted in WANTED.items():
        marks = [f"<!-- figures:{each} -->\n<!-- /figures:{each} -->\n" for each in wanted]
        (tmp_path / name).write_text("\n".join(marks), encoding="utf-8")
    arguments = ["--results", str(tmp_path), "--texts", str(tmp_path)]
    assert main(arguments) == 0
    written = [(tmp_path / name).read_text(encoding="utf-8") for name in WANTED]
    assert LINES["builds"][0] in written[0]
    assert LINES["costs"][0] in written[1]
    assert main(arguments) == 0
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in WANTED] == written


def test_make_answers_names_the_text_that_lacks_a_mark_and_writes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = [
        f"<!-- figures:{each} -->\n<!-- /figures:{each} -->\n" for each in WANTED[SHORT_ANSWER]
    ]
    (tmp_path / SHORT_ANSWER).write_text("\n".join(marks), encoding="utf-8")
    (tmp_path / README).write_text("# Title\n", encoding="utf-8")
    assert main(["--results", str(tmp_path), "--texts", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("README.md: the text needs <!-- figures:costs -->")
    assert "Not measured" not in (tmp_path / SHORT_ANSWER).read_text(encoding="utf-8")
