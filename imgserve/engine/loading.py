"""Load a model while the service already answers that it is not ready."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from imgserve.contract import State
from imgserve.engine import openvino_engine
from imgserve.engine.artefact import read_info
from imgserve.engine.classifier import Classifier
from imgserve.errors import ArtefactInvalid, ModelError, NotReady
from imgserve.models import catalogue
from imgserve.settings import BackendSettings

log = logging.getLogger(__name__)

FLOAT32_BYTES = 4


class LoadingModel:
    """A model being loaded in a thread of its own, from the moment this is made."""

    def __init__(self, model_id: str, load: Callable[[], Classifier]) -> None:
        self.model = model_id
        self._load = load
        self._classifier: Classifier | None = None
        self._failure: str | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name=f"load-{model_id}", daemon=True).start()

    def _run(self) -> None:
        started = perf_counter()
        try:
            self._classifier = self._load()
            log.info("model %s loaded in %.2f s", self.model, perf_counter() - started)
        except Exception as exc:  # whatever it is, callers are told and the log has the rest
            self._failure = str(exc)
            log.exception("model %s could not be loaded", self.model)
        finally:
            self._done.set()

    @contextmanager
    def using(self, timeout_s: float) -> Iterator[Classifier]:
        """Hold the model while it is used; errors as ``get``."""
        yield self.get(timeout_s)

    @property
    def state(self) -> State:
        """Return whether it is loaded; one that could not be loaded is absent."""
        if not self._done.is_set():
            return "loading"
        return "absent" if self._classifier is None else "ready"

    @property
    def failure(self) -> str | None:
        """Return why it could not be loaded, if that was tried and failed."""
        return self._failure

    def get(self, timeout_s: float = 0.0) -> Classifier:
        """Return the model, waiting for it at most so long.

        Raises:
            NotReady: it is still loading, or could not be loaded.
        """
        self._done.wait(timeout_s)
        if self._classifier is not None:
            return self._classifier
        if self._failure is not None:
            raise NotReady(f"model {self.model} could not be loaded: {self._failure}", 60)
        raise NotReady(f"model {self.model} is still loading: try again in a moment")


def compiled_folder(settings: BackendSettings) -> Path:
    """Return the folder of compiled models."""
    return settings.weights_dir / "compiled"


def checkpoints_folder(settings: BackendSettings) -> Path:
    """Return the folder of downloaded weights."""
    return settings.weights_dir / "checkpoints"


def load(settings: BackendSettings, model_id: str) -> Classifier:
    """Return a model on the settings' engine, warm, compiling it first where needed.

    Raises:
        UnknownModel: the catalogue has no such model.
        ModelError: it cannot be had, compiled or read.
    """
    prepare(settings, model_id)
    if settings.engine == "torch":
        classifier = _load_torch(settings, model_id)
    else:
        folder = compiled_folder(settings)
        classifier = openvino_engine.load(folder, model_id, threads=settings.threads)
    classifier.warm_up()
    return classifier


def prepare(settings: BackendSettings, model_id: str) -> int:
    """Compile a model where that is needed; return how many bytes it will take once loaded.

    Raises:
        UnknownModel: the catalogue has no such model.
        ModelError: it cannot be had or compiled.
    """
    entry = catalogue.entry(model_id)
    if settings.engine == "torch":
        return entry.parameters * FLOAT32_BYTES
    folder = compiled_folder(settings)
    try:
        return read_info(folder, model_id).memory_bytes
    except (FileNotFoundError, ArtefactInvalid):
        compile_apart(settings, model_id)
    return read_info(folder, model_id).memory_bytes


def _load_torch(settings: BackendSettings, model_id: str) -> Classifier:
    from imgserve.engine import torch_engine  # here, so that serving without torch stays so

    return torch_engine.load(
        checkpoints_folder(settings),
        model_id,
        threads=settings.threads,
        url_base=settings.weights_url_base,
    )


def compile_apart(settings: BackendSettings, model_id: str) -> None:
    """Compile a model in a process of its own, so that torch does not stay in this one's memory.

    Raises:
        ModelError: compiling failed; the message is the compiler's last line.
    """
    log.info("model %s is compiled once for this machine; this takes a minute or so", model_id)
    command = [sys.executable, "-m", "imgserve.compile", model_id]
    command += ["--out", str(compiled_folder(settings))]
    command += ["--checkpoints", str(checkpoints_folder(settings))]
    if settings.weights_url_base:
        command += ["--weights-url-base", settings.weights_url_base]
    status, last_line = _run_showing_progress(command)
    if status:
        raise ModelError(f"compiling {model_id} failed: {last_line}")


def _run_showing_progress(command: list[str]) -> tuple[int, str]:
    """Run a command, copy what it says to standard error, return its status and its last line."""
    last_line = ""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    with process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            last_line = line.strip() or last_line
    return process.returncode, last_line
