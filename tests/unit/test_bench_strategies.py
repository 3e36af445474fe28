"""The benchmark's strategies and starts: what is asked, what is counted, what is shown."""

import http.server
import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from imgserve.models.loading_model import LoadingModel

from imgserve.models import compiled_model as artefact
from imgserve.settings import MIB
from tools.benchmarks import models
from tools.benchmarks.contenders import starting, strategies
from tools.benchmarks.contenders.starting import IMAGE, STARTS, Place, start
from tools.benchmarks.fetching.job import Job
from tools.benchmarks.parts import starts as starts_part
from tools.benchmarks.parts import strategies as strategies_part
from tools.benchmarks.parts.strategies import LOADED
from tools.benchmarks.plan import PLANS
from tools.benchmarks.processes.load import Question
from tools.benchmarks.processes.turns import Asking, Turn, Turns, ask_in_turn
from tools.benchmarks.record import Record, keep
from tools.benchmarks.report import page

CHOSEN = ("a", "b", "c")
SIZES_MIB = {"a": 40, "b": 30, "c": 41}


class Host:
    """A host that says its path as the category, or does as a path tells it; it counts paths."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                host.asked[self.path] += 1
                self.close_connection = self.path == "/broken"
                if not self.close_connection:
                    self._say(json.dumps({"category": self.path}).encode())

            def _say(self, body: bytes) -> None:
                self.send_response(503 if self.path == "/busy" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def url(self, path: str) -> str:
        """Return an address of this host."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    running = Host()
    yield running
    running.close()


def turns(host: Host, *paths: str) -> list[Turn]:
    return [Turn(Question(host.url(path), "text/plain", b"picture"), path) for path in paths]


@pytest.mark.parametrize("clients", [1, 4])
def test_clients_ask_for_everything_equally_often_until_it_is_enough(
    clients: int, host: Host
) -> None:
    found = ask_in_turn(turns(host, "/a", "/b", "/c"), clients=clients, seconds=0, least=12)
    assert host.asked == {"/a": 4, "/b": 4, "/c": 4}
    assert (len(found.took_ms), found.failed) == (12, 0)
    assert found.rate == pytest.approx(12 / found.seconds)


def test_clients_go_on_asking_for_as_long_as_they_were_told(host: Host) -> None:
    found = ask_in_turn(turns(host, "/a"), clients=2, seconds=0.2, least=1)
    assert found.seconds >= 0.2
    assert len(found.took_ms) > 2


def test_refused_broken_and_wrong_answers_are_failures(host: Host) -> None:
    wrong = Turn(turns(host, "/other")[0].question, "/expected")
    asked = [*turns(host, "/right", "/busy", "/broken"), wrong]
    found = ask_in_turn(asked, clients=1, seconds=0, least=4)
    assert found.failed == 3
    assert len(found.took_ms) == 3, "a broken connection brings no answer"


def test_once_stopped_nobody_asks_again(host: Host) -> None:
    asking = Asking(turns(host, "/a"), seconds=60, least=1000)
    asking.stop()
    asking.ask()
    assert not host.asked


def test_percentiles_are_of_all_answers() -> None:
    found = Turns(took_ms=[float(each) for each in range(1, 102)], seconds=1)
    assert (found.percentile_ms(50), found.percentile_ms(99)) == (51, 100)
    assert Turns(took_ms=[7.0]).percentile_ms(99) == 7
    assert Turns().percentile_ms(50) == 0


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three models be compiled, each of another size."""

    def described(_: Path, model: str, __: str = "fp32") -> Any:
        return SimpleNamespace(memory_bytes=SIZES_MIB[model] * MIB)

    monkeypatch.setattr(artefact, "parse_info", described)


def environ(title: str, program: str) -> dict[str, str]:
    """Return what a strategy tells one of its programs; its ports are 1, 2, and so on."""
    found = next(each for each in strategies.strategies(CHOSEN) if each.title == title)
    ports = {each.name: number for number, each in enumerate(found.programs, start=1)}
    named = next(each for each in found.programs if each.name == program)
    return dict(named.environ(ports))


def test_every_strategy_has_every_model_at_one_address(compiled: None) -> None:
    for strategy in strategies.strategies(CHOSEN):
        assert [entrance.name for entrance in strategy.entrances] == list(CHOSEN)
        assert {entrance.program for entrance in strategy.entrances} == {strategy.programs[-1].name}
        assert strategy.entrances[1].paths["upload"] == "/model/b/predict"


def test_the_pool_for_one_holds_any_of_them_but_no_two(compiled: None) -> None:
    limit_mb = int(environ(strategies.FOR_ONE, "backend")["MODEL_MEMORY_MB"])
    assert max(SIZES_MIB.values()) <= limit_mb < sum(sorted(SIZES_MIB.values())[:2])
    for_all = environ(strategies.FOR_ALL, "backend")
    assert int(for_all["MODEL_MEMORY_MB"]) >= sum(SIZES_MIB.values())


def test_one_per_container_has_a_backend_for_each_behind_a_gateway(compiled: None) -> None:
    backends = environ(strategies.CONTAINERS, "gateway")["BACKENDS"]
    assert backends == "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"
    assert environ(strategies.CONTAINERS, "b")["MODEL_NAME"] == "b"


def test_a_loaded_model_is_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LoadingModel("efficientnet_lite0", object).get(30)
    assert len(LOADED.findall(caplog.text.encode())) == 1


def test_the_plans_know_the_ways_and_the_sizes() -> None:
    for plan in PLANS.values():
        assert set(plan.start_ways) <= set(STARTS)
        assert plan.strategy_models.keys() == plan.strategy_load_s.keys()


def test_compiling_at_the_start_is_measured_once() -> None:
    full = PLANS["full"]
    assert starts_part._ways(full, 0) == list(STARTS)
    assert starting.COMPILED not in starts_part._ways(full, 1)
    assert len(starts_part._ways(full, 1)) == len(STARTS) - 1


def test_what_is_in_the_image_needs_no_network(tmp_path: Path) -> None:
    chosen = start(IMAGE, "efficientnet_lite0", Place(tmp_path, 1))
    assert chosen.megabytes == 0
    assert dict(chosen.contender.programs[0].environ({}))["WEIGHTS_DIR"] == str(models.WEIGHTS)


def test_random_weights_are_fetched_then_compiled_then_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "WEIGHTS", tmp_path / "there")
    (tmp_path / "there" / "random").mkdir(parents=True)
    (tmp_path / "there" / "random" / "vgg16.pth").write_bytes(bytes(2_000_000))
    chosen = start(starting.COMPILED, "vgg16", Place(tmp_path / "empty", 1234))
    assert chosen.megabytes == 2
    (server,) = chosen.contender.programs
    job = msgspec.json.decode(server.command[-1], type=Job)
    kept = str(tmp_path / "empty" / "random" / "vgg16.pth")
    assert job.files == {kept: "http://127.0.0.1:1234/random/vgg16.pth"}
    assert ["tools.benchmarks.random_weights" in each for each in job.commands] == [True, False]
    assert job.commands[-1][-1] == "backend_v1.app:app"
    assert server.environ({})["WEIGHTS_DIR"] == str(tmp_path / "empty")


def fetching(root: Path, job: Job) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tools.benchmarks.fetching", msgspec.json.encode(job).decode()]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def test_files_are_fetched_before_the_commands_run_one_after_the_other(
    root: Path, tmp_path: Path, host: Host
) -> None:
    kept, copy = tmp_path / "new" / "kept", tmp_path / "copy"
    copied = ["cp", str(kept), str(copy)]
    job = Job({str(kept): host.url("/weights")}, [copied, ["/bin/cat", str(copy)]])
    done = fetching(root, job)
    assert done.returncode == 0, done.stderr
    assert done.stdout == '{"category": "/weights"}'


def test_a_server_whose_files_cannot_be_had_does_not_start(
    root: Path, tmp_path: Path, host: Host
) -> None:
    job = Job({str(tmp_path / "kept"): host.url("/busy")}, [["/bin/echo", "started"]])
    done = fetching(root, job)
    assert done.returncode != 0
    assert "started" not in done.stdout


def strategy(number: int, title: str, rate: float, loads: int) -> strategies_part.Row:
    values = (number, title, ["a", "b"], "small", 8, 100, 0, rate, 20.0, 90.0, 200.0, loads)
    return strategies_part.Row(*values)


def test_the_page_shows_medians_of_strategies_and_starts(tmp_path: Path) -> None:
    rows = {
        "strategies": [
            *(strategy(each, "pool for one", each + 1, 50) for each in range(3)),
            strategy(0, "another", 7, -1),
        ],
        "starts": [
            starts_part.Row(each, "copied at start", "vgg16", 10.0 + each, 553.4)
            for each in range(3)
        ],
    }
    for part, found in rows.items():
        keep(tmp_path, Record(part, "2026-11-21", "full", {}, {}, list(found)))
    text = page.page(tmp_path)
    shows = "| 2.00 (1.00 to 3.00) | 20.0 | 90.0 | 200 | 0.50 | 0 |"
    assert f"| small: a, b | 8 | pool for one {shows}" in text
    assert "| small: a, b | 8 | another | 7.00 | 20.0 | 90.0 | 200 |  | 0 |" in text
    assert "| vgg16 | copied at start | 11.0 (10.0 to 12.0) | 553 |" in text
