"""``python -m imgserve.evaluate MODEL FOLDER``: accuracy and time in each precision."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from imgserve.contract import PredictOptions
from imgserve.errors import EvaluationFailed, HttpError, ImgserveError, ModelError
from imgserve.evaluate import Labelled, labelled_pictures
from imgserve.machine import cpu_quota, default_weights_dir
from imgserve.models import catalogue
from imgserve.models.classifier import Classifier
from imgserve.models.openvino_engine import load
from imgserve.settings import BackendSettings

PRECISIONS = ("fp32", "bf16", "int8")
CELL_PIXELS = 8
PICTURE_PIXELS = 1000  # of the confusion picture's side, about
FOLDER_HELP = "pictures, with a labels.csv (file, class_id or category) or a folder for each class"
PRECISION_HELP = "default: fp32, bf16 where the CPU has it, int8 where it is compiled"

Pair = tuple[int, int]  # a picture's class, and the one that the model finds


def evaluate(classifier: Classifier, pictures: Sequence[Labelled]) -> tuple[list[Pair], list[str]]:
    """Print how often a model is right, with progress on standard error.

    Returns a pair for each picture, and what could not be classified and why.
    """
    limit_pixels = BackendSettings().max_image_pixels
    pairs, refused, times_ms, among_five = [], [], [], 0
    for number, (path, label) in enumerate(pictures, 1):
        if sys.stderr.isatty() or number == len(pictures):
            print(f"\r{classifier.precision}: {number} of {len(pictures)}", end="", file=sys.stderr)
        try:
            data = path.read_bytes()
            result = classifier.classify(data, PredictOptions(), limit_pixels=limit_pixels)
        except HttpError as exc:
            refused.append(f"{path.name}: {exc}")
            continue
        named = [prediction.class_id for prediction in result.predictions]
        pairs.append((label, named[0]))
        among_five += label in named
        times_ms.append(result.decode_ms + result.preprocess_ms + result.inference_ms)
    print(file=sys.stderr)
    if not (count := len(pairs)):
        raise EvaluationFailed(f"no picture could be classified: {refused[0]}")
    right, time_ms = sum(label == named for label, named in pairs) / count, median(times_ms)
    among = among_five / count
    print(f"{classifier.precision:9}  {count:8}  {right:7.1%}  {among:7.1%}  {time_ms:12.1f}")
    return pairs, refused


def confusion_picture(pairs: Sequence[Pair]) -> Image.Image:
    """Return which classes (rows) are taken for which (columns): the darker, the more often.

    Classes that no picture is of and none was named are left out.
    """
    classes, places = np.unique(pairs, return_inverse=True)
    counts = np.zeros((len(classes),) * 2)
    np.add.at(counts, tuple(places.T), 1)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    cells = Image.fromarray((255 * (1 - shares)).astype(np.uint8))
    factor = max(1, min(CELL_PIXELS, PICTURE_PIXELS // len(classes)))
    return cells.resize((len(classes) * factor,) * 2, Image.Resampling.NEAREST)


def most_confused(pairs: Sequence[Pair], categories: Sequence[str]) -> list[str]:
    """Return the five commonest mistakes in words."""
    mistakes = Counter(pair for pair in pairs if pair[0] != pair[1])
    return [
        f"{categories[label]} taken for {categories[named]}: {count}"
        for (label, named), count in mistakes.most_common(5)
    ]


def classifiers(given: argparse.Namespace) -> list[Classifier]:
    """Return the model in each precision asked for; without any, in each that can be had here.

    ModelError where it cannot be loaded in one that was asked for, or in none; UnknownModel where
    it is not compiled, nor does anyone know it.
    """
    loaded, failures = [], []
    for precision in given.precision or PRECISIONS:
        settings = BackendSettings(
            weights_dir=given.weights_dir, threads=cpu_quota(), precision=precision
        )
        try:
            loaded.append(load(settings, given.model))
        except FileNotFoundError:
            option = " --precision int8" if precision == "int8" else ""
            catalogue.entry(given.model, BackendSettings.from_environ(os.environ).models_file)
            failures.append(
                f"compile it first: {sys.executable} -m imgserve.compile {given.model}{option}"
            )
        except ModelError as exc:
            failures.append(str(exc))
    if failures and (given.precision or not loaded):
        raise ModelError(failures[0])
    return loaded


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m imgserve.evaluate",
        description="Say how often a compiled model is right about labelled pictures.",
    )
    add, weights_dir = parser.add_argument, default_weights_dir()
    add("model", metavar="MODEL", help="a compiled model's id")
    add("folder", type=Path, metavar="FOLDER", help=FOLDER_HELP)
    add("--precision", nargs="+", choices=PRECISIONS, help=PRECISION_HELP)
    add("--confusion", type=Path, metavar="PNG", help="where to draw the mistakes")
    add("--weights-dir", type=Path, default=weights_dir, help="default: %(default)s")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate what the command line names; return the exit status."""
    given = arguments(argv)
    try:
        models = classifiers(given)
        pictures = labelled_pictures(given.folder, models[0].categories)
        print("precision  pictures    top-1    top-5  ms a picture")
        (pairs, refused), *_ = [evaluate(model, pictures) for model in models]
        if given.confusion:
            confusion_picture(pairs).save(given.confusion)
    except KeyboardInterrupt:
        return 130  # as a shell says it: 128 and the signal's number
    except (ImgserveError, OSError, ValueError) as exc:
        print(f"{given.model}: {exc}", file=sys.stderr)
        return 1
    for line in (*most_confused(pairs, models[0].categories), *refused):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
