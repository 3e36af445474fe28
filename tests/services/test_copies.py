"""A model in processes of its own, with the embedded model."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest

from imgserve.contract import Prediction, PredictOptions
from imgserve.errors import (
    DamagedPicture,
    HttpError,
    ModelError,
    NotReady,
    TooManyPixels,
    UnsupportedFormat,
)
from imgserve.models import copies as copies_module
from imgserve.models.compiled_model import described, read_info, write_info
from imgserve.models.copies import Copies, load_copies
from imgserve.models.copy import Copy
from imgserve.models.local import load_here
from imgserve.models.model import Computed, Model
from imgserve.settings import BackendSettings
from tests.services.conftest import MODELS
from tests.unit import pictures
from tests.unit.waiting import wait_until

MODEL = MODELS[0]
THREADS = 2
OPTIONS = PredictOptions(top_k=5)
CAT = pictures.path("chelsea.png").read_bytes()
CAT_PIXELS = 451 * 300
SAME = 2e-6  # probabilities are rounded to six digits; one thread sums in another order than two

Start = Callable[..., Copies]


def settings(weights_dir: Path, **more: object) -> BackendSettings:
    """Return settings for two threads."""
    return BackendSettings(weights_dir=weights_dir, threads=THREADS, **more)  # type: ignore[arg-type]


def children() -> set[int]:
    """Return the processes that this one started, also those that ended but were not waited for."""
    return {child.pid for child in psutil.Process().children()}


def pids(copies: Copies) -> list[int]:
    """Return the processes of those copies that run, the first copy's first."""
    with copies._changed:
        return [each._process.pid for each in sorted(copies._running, key=number)]


def number(copy: Copy) -> float:
    """Return what tells the first copy: it has all threads."""
    return -copy._load.settings.threads


def is_alive(pid: int) -> bool:
    """Return whether a process runs (one that ended but was not waited for does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_same(computed: Computed, expected: Computed) -> None:
    """Assert that two answers name the same classes, as probable."""

    def named(predictions: list[Prediction]) -> list[tuple[str, int]]:
        return [(each.category, each.class_id) for each in predictions]

    assert named(computed.predictions) == named(expected.predictions)
    for one, other in zip(computed.predictions, expected.predictions, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=SAME)
    assert computed.thumbnail == expected.thumbnail


@pytest.fixture(scope="module")
def local(weights_dir: Path) -> Model:
    """Return the model in this process."""
    return load_here(settings(weights_dir), MODEL)


@pytest.fixture(scope="module", params=[1, 2])
def running(request: pytest.FixtureRequest, weights_dir: Path) -> Iterator[Copies]:
    """Return the model in one process and in two; tests leave them running."""
    made = Copies(settings(weights_dir), MODEL, copies=request.param)
    wait_until(lambda: len(made._running) == request.param)
    yield made
    made.close()


@pytest.fixture
def start(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts copies which a test may kill, two unless told otherwise."""
    monkeypatch.setattr(copies_module, "PAUSE_S", 0.2)
    before = children()
    made: list[Copies] = []

    def start(*, copies: int | None = 2, **more: object) -> Copies:
        loaded = load_copies(settings(weights_dir, copies=copies, **more), MODEL)
        assert isinstance(loaded, Copies)
        made.append(loaded)
        wait_until(lambda: len(loaded._running) == (copies or THREADS))
        return loaded

    yield start
    for each in made:
        each.close()
    wait_until(lambda: children() <= before)


# Answers


@pytest.mark.parametrize("name", ["chelsea.png", "rocket.jpg", "coffee.png"])
@pytest.mark.parametrize("thumbnail", [True, False])
def test_copies_answer_as_the_model_in_this_process(
    running: Copies, local: Model, name: str, thumbnail: bool
) -> None:
    data = pictures.path(name).read_bytes()
    options = PredictOptions(top_k=3, thumbnail=thumbnail)
    computed = running.compute(data, options)
    assert_same(computed, local.compute(data, options))
    assert len(computed.predictions) == 3
    assert (computed.thumbnail is not None) == thumbnail
    assert min(computed.decode_ms, computed.preprocess_ms, computed.inference_ms) > 0
    assert running.model == local.model == MODEL
    running.check()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (CAT[:5000], DamagedPicture),
        (b"", UnsupportedFormat),
        (b"<!doctype html>", UnsupportedFormat),
        (b"%PDF-1.7", UnsupportedFormat),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_as_in_this_process(
    running: Copies, local: Model, data: bytes, error: type[HttpError]
) -> None:
    said = []
    for model in (running, local):
        with pytest.raises(error) as caught:
            model.compute(data, OPTIONS)
        assert type(caught.value) is error
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert running.compute(CAT, OPTIONS).predictions


def test_the_limit_of_pixels_is_the_settings_own(start: Start, weights_dir: Path) -> None:
    enough = start(copies=1, max_image_pixels=CAT_PIXELS)
    assert enough.compute(CAT, OPTIONS).predictions
    less = start(copies=1, max_image_pixels=CAT_PIXELS - 1)
    here = load_here(settings(weights_dir, max_image_pixels=CAT_PIXELS - 1), MODEL)
    said = []
    for model in (less, here):
        with pytest.raises(TooManyPixels, match=f"more than {CAT_PIXELS - 1} pixels") as caught:
            model.compute(CAT, OPTIONS)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_many_who_ask_at_once_all_get_their_own_answers_from_all_copies(
    start: Start, local: Model
) -> None:
    copies = start()
    data = [pictures.path(name).read_bytes() for name in ("chelsea.png", "coffee.png")] * 20
    used_s = {pid: cpu_s(pid) for pid in pids(copies)}
    with ThreadPoolExecutor(8) as askers:
        answers = list(askers.map(lambda each: copies.compute(each, OPTIONS), data))
    expected = [local.compute(each, OPTIONS) for each in data[:2]] * 20
    for computed, right in zip(answers, expected, strict=True):
        assert_same(computed, right)
    assert len(used_s) == 2
    for pid, before_s in used_s.items():
        assert cpu_s(pid) > before_s


def cpu_s(pid: int) -> float:
    """Return how long a process has computed."""
    return psutil.Process(pid).cpu_times().user


def test_the_first_copy_has_all_threads_and_the_other_its_share(start: Start) -> None:
    copies = start(copies=2)
    assert sorted(each._load.settings.threads for each in copies._running) == [1, THREADS]
    alone = start(copies=1)
    assert [each._load.settings.threads for each in alone._running] == [THREADS]


def test_a_small_model_has_as_many_copies_as_threads(start: Start) -> None:
    assert len(start(copies=None)._running) == THREADS


# Processes that end


def test_only_the_request_whose_copy_is_killed_is_refused_and_a_new_copy_follows(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    copies = start()
    first, second = pids(copies)
    os.kill(first, signal.SIGSTOP)  # computes until it is killed
    with ThreadPoolExecutor(1) as asker:
        asked = asker.submit(copies.compute, CAT, OPTIONS)
        wait_until(lambda: [lane.number for lane in copies._free] == [1])
        assert copies.compute(CAT, OPTIONS).predictions
        os.kill(first, signal.SIGKILL)
        with pytest.raises(NotReady, match="send the picture again") as caught:
            asked.result(10)
    assert caught.value.retry_after_s
    for _ in range(5):
        copies.check()
        assert copies.compute(CAT, OPTIONS).predictions
    wait_until(lambda: len(pids(copies)) == 2)
    assert set(pids(copies)) & {first, second} == {second}
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert said == [f"a copy of model {MODEL} ended with status -9"]
    wait_until(lambda: {lane.number for lane in copies._free} == {0, 1})
    assert [lane.copy.is_lost for lane in copies._free] == [False, False]


def kill_all(copies: Copies) -> None:
    """Kill all processes and wait until that is known."""
    killed = pids(copies)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not set(pids(copies)) & set(killed))


def test_without_any_copy_the_model_is_not_ready_and_who_waits_is_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "PAUSE_S", 1.0)
    copies = start(load_wait_s=60.0)
    kill_all(copies)
    with pytest.raises(NotReady, match="try again in a moment"):
        copies.check()
    assert copies.compute(CAT, OPTIONS).predictions
    copies.check()


def test_who_cannot_wait_for_a_new_copy_is_told_to_come_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "PAUSE_S", 1.0)
    copies = start(copies=1, load_wait_s=0.05)
    kill_all(copies)
    with pytest.raises(NotReady, match="being loaded again: try again in a moment") as caught:
        copies.compute(CAT, OPTIONS)
    assert caught.value.retry_after_s
    wait_until(lambda: pids(copies))
    copies.check()
    assert copies.compute(CAT, OPTIONS).predictions


def test_closing_ends_all_processes_and_starts_none(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    before, threads = children(), set(threading.enumerate())
    copies = start()
    assert children() - before == set(pids(copies))
    copies.close()
    wait_until(lambda: children() <= before)
    wait_until(lambda: set(threading.enumerate()) <= threads)  # nobody is left to start one
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    with pytest.raises(NotReady):
        copies.check()


def test_closing_while_a_copy_loads_ends_that_one_too(weights_dir: Path) -> None:
    before, threads = children(), set(threading.enumerate())
    copies = Copies(settings(weights_dir), MODEL, copies=2)
    copies.close()
    wait_until(lambda: set(threading.enumerate()) <= threads)
    assert children() <= before


# Models that cannot be loaded


def test_a_model_that_cannot_be_had_is_refused_with_the_reason_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    before = children()
    nowhere = settings(tmp_path, weights_url_base="http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"resnet152-f82ba261\.pth could not be had"):
        Copies(nowhere, "resnet152", copies=2)
    assert children() <= before


def with_damaged_graph(weights_dir: Path, folder: Path) -> Path:
    """Return a folder with a model whose graph nobody can read, although it is as described."""
    compiled = folder / "compiled"
    info = read_info(weights_dir / "compiled", MODEL)
    compiled.mkdir()
    shutil.copy(weights_dir / "compiled" / info.weights.name, compiled)
    graph = compiled / info.graph.name
    graph.write_text("no graph")
    write_info(compiled, msgspec.structs.replace(info, graph=described(graph, graph.name)))
    return folder


def test_a_process_that_ends_while_it_loads_is_told_with_its_status_and_its_log_says_why(
    weights_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = children()
    damaged = with_damaged_graph(weights_dir, tmp_path)
    with pytest.raises(ModelError, match=f"that loaded {MODEL} ended with 1: the log says why"):
        Copies(settings(damaged), MODEL, copies=2)
    assert "Traceback" in capfd.readouterr().err
    assert children() <= before


def test_a_process_that_is_killed_while_it_loads_is_told_with_the_signal(
    weights_dir: Path,
) -> None:
    before = children()
    with ThreadPoolExecutor(1) as loader:
        loading = loader.submit(Copies, settings(weights_dir), MODEL, copies=1)
        wait_until(lambda: children() - before)
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ModelError, match="ended with -9"):
            loading.result(10)
    assert children() <= before


# The process that started them

STARTER = """
import signal, sys, time
from pathlib import Path
from imgserve.models.copies import Copies
from imgserve.contract import PredictOptions
from imgserve.settings import BackendSettings

signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
folder, model, picture = sys.argv[1:]
copies = Copies(BackendSettings(weights_dir=Path(folder), threads=2), model, copies=2)
while len(copies._running) < 2:
    time.sleep(0.01)
print(*(each._process.pid for each in copies._running), flush=True)
for _ in sys.stdin:
    computed = copies.compute(Path(picture).read_bytes(), PredictOptions())
    print(computed.predictions[0].category, flush=True)
"""

Starter = subprocess.Popen[str]


@pytest.fixture
def starter(root: Path, weights_dir: Path) -> Iterator[Starter]:
    """Return a process in a group of its own that starts two copies and asks them when told."""
    command = [sys.executable, "-c", STARTER, str(weights_dir), MODEL]
    command += [str(pictures.path("coffee.png"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=root, stdin=pipe, stdout=pipe, text=True, process_group=0
    ) as process:
        yield process
        process.kill()


def said(starter: Starter) -> str:
    """Return the next line of the process."""
    assert starter.stdout is not None
    return starter.stdout.readline().strip()


def test_an_interrupt_of_the_terminal_does_not_reach_the_copies(starter: Starter) -> None:
    assert starter.stdin is not None
    computing = [int(pid) for pid in said(starter).split()]
    assert len(computing) == 2
    os.killpg(starter.pid, signal.SIGINT)
    assert said(starter) == "interrupted"
    for _ in range(3):
        starter.stdin.write("\n")
        starter.stdin.flush()
        assert said(starter) == "espresso"
    assert [is_alive(pid) for pid in computing] == [True, True]


def test_copies_end_by_themselves_when_the_process_that_started_them_is_killed(
    starter: Starter,
) -> None:
    computing = [int(pid) for pid in said(starter).split()]
    assert [is_alive(pid) for pid in computing] == [True, True]
    starter.kill()
    wait_until(lambda: not any(map(is_alive, computing)))
