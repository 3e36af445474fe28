"""Compile classifiers for serving, and check the result.

``python -m imgserve.compile MODEL... --out DIR`` exports each model with its normalisation and
softmax, then compares it with the original on real pictures and on noise. Only if they agree is the
compiled model put in place; a mismatch leaves nothing behind.
"""

import argparse
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter

import filelock

from imgserve.compile.export import export, versions
from imgserve.compile.original import say
from imgserve.compile.sources import original
from imgserve.errors import CompiledModelInvalid, ImgserveError, ModelError
from imgserve.machine import default_models_file, default_weights_dir
from imgserve.models import catalogue, compiled_model
from imgserve.models.catalogue import Entry
from imgserve.models.compiled_model import FP32, INT8, PRECISIONS, ModelInfo
from imgserve.settings.parsers import base_url, file

HELP = {
    "precision": "int8 is faster; it is refused where it finds other classes (default: fp32)",
    "photos": "labelled pictures, as imgserve.evaluate takes them: int8 is calibrated with one "
    "half and must be right about as many of the other as fp32, less one percent",
    "models-file": "your own models (default: MODELS_FILE, else models.toml if there is one)",
    "checkpoints": "where downloaded weights are kept (default: %(default)s)",
}


def compile_model(model_id: str, given: argparse.Namespace) -> ModelInfo:
    """Compile a model as the command line says, unless it is there already.

    UnknownModel where there is no such model, ModelError where it cannot be compiled.
    """
    entry = catalogue.entry(model_id, given.models_file)
    _require_packages(given.precision, entry)
    given.out.mkdir(parents=True, exist_ok=True)
    with _locked(model_id, given.out):
        anew = given.force or given.photos
        present = None if anew else up_to_date(given.out, model_id, given.precision)
        if present and not present.source:
            say(model_id, "is compiled already")
            return present
        say(model_id, "loading trained weights")
        url_base = given.weights_url_base or ""
        made = original(model_id, entry, folder=given.checkpoints, url_base=url_base)
        if present and present.source == made.source:
            say(model_id, "is compiled already")
            return present
        return export(model_id, made, given.out, precision=given.precision, photos=given.photos)


def _require_packages(precision: str, entry: Entry) -> None:
    """Refuse early, before minutes of work, what needs packages that are missing."""
    needed: list[tuple[str, Sequence[str], str]] = []
    if precision == INT8:
        needed += [("int8", ("nncf", "skimage", "sklearn"), "quantize, or use PRECISION=fp32")]
    if entry.onnx:
        needed += [("ONNX", ("onnxruntime",), "onnx")]
    for what, names, group in needed:
        if missing := [name for name in names if importlib.util.find_spec(name) is None]:
            raise ModelError(
                f"{what} needs packages that are not installed ({', '.join(missing)}): run "
                f"requirements/install.sh {group}"
            )


def _locked(model_id: str, out: Path) -> AbstractContextManager[object]:
    """Wait until no other process compiles the same model, and keep others waiting."""
    lock = filelock.FileLock(out / f"{model_id}.lock")
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        say(model_id, "is being compiled by another process: waiting for it")
        return lock.acquire()


def up_to_date(out: Path, model_id: str, precision: str = FP32) -> ModelInfo | None:
    """Return the description of a model that is intact and compiled by these versions."""
    try:
        info = compiled_model.read_info(out, model_id, precision)
        compiled_model.check_content(out, info)
    except (FileNotFoundError, CompiledModelInvalid):
        return None
    return info if info.versions == versions(precision) else None


def interrupt_when_stdin_closes() -> None:
    """Interrupt this process, which then cleans up, once its input's other end is closed."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgserve.compile",
        description="Compile classifiers to the form they are served in, and check the result.",
    )
    add, folder = parser.add_argument, default_weights_dir()
    known = ", ".join(catalogue.catalogue(None))
    add("models", nargs="+", metavar="MODEL", help=f"one of your own, or of: {known}")
    add("--precision", choices=PRECISIONS, default=FP32, help=HELP["precision"])
    add("--photos", type=Path, metavar="FOLDER", help=HELP["photos"])
    add("--models-file", type=file, default=default_models_file(), help=HELP["models-file"])
    add("--out", type=Path, default=folder / "compiled", help="default: %(default)s")
    add("--checkpoints", type=Path, default=folder / "checkpoints", help=HELP["checkpoints"])
    add("--weights-url-base", type=base_url, help="a mirror to download weights from")
    add("--force", action="store_true", help="compile also what is compiled already")
    add("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.photos and given.precision != INT8:
        parser.error("--photos is for --precision int8")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Compile what the command line names; return the exit status."""
    given = arguments(argv)
    # A process that a shell starts in the background ignores the signal unless told otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.until_stdin_closes:
        threading.Thread(target=interrupt_when_stdin_closes, daemon=True).start()
    for model_id in given.models:
        started = perf_counter()
        try:
            info = compile_model(model_id, given)
        except KeyboardInterrupt:
            say(model_id, "interrupted; nothing was changed")
            return 130  # as a shell says it: 128 and the signal's number
        except (ImgserveError, OSError) as exc:
            print(f"{model_id}: {exc}", file=sys.stderr)
            return 1
        size_mb = info.weights.size_bytes / 1e6
        print(f"{model_id}: {size_mb:.1f} MB in {given.out}, {perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    socket.setdefaulttimeout(60)  # a stalled download has failed; torch.hub would wait for ever
    sys.exit(main())
