"""Quantize a compiled graph to int8, and refuse one that answers too differently.

Weights and what flows between layers become 8-bit numbers, whose ranges NNCF finds by looking at
calibration pictures; normalisation and softmax stay in float32. Some layers lose too much that
way, so there are several choices of layers that stay in float32, the fastest first, and the first
choice that agrees with the original on pictures that were not used for calibration is taken.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgserve.compile import calibrate as calibration
from imgserve.errors import CompileMismatch
from imgserve.machine import cpu_quota
from imgserve.models.classifier import Engine, Probabilities
from imgserve.models.compiled_model import Quantization, Transform
from imgserve.models.openvino_engine import OpenVinoEngine
from imgserve.models.openvino_import import openvino
from imgserve.models.transform import Crop

# Of the pictures checked, the share that must show both the same class.
LEAST_AGREEMENT = 0.97
# Where fp32 finds two classes that closely probable, either is the same answer: one part in a
# hundred of a probability is what int8 costs, and many parts of pictures show several things.
NEAR_TIE = 0.01

Choice = tuple[str, tuple[str, ...]]  # what a choice of layers is called, and their names


def quantize(
    graph: Path,
    transform: Transform,
    out: Path,
    *,
    least_agreement: float = LEAST_AGREEMENT,
    tell: Callable[[str], None],
) -> Quantization:
    """Write the int8 form of a graph; return how it was made and how far it agrees.

    Args:
        graph: the float32 form.
        transform: the model's.
        out: where the int8 form is written.
        least_agreement: of the pictures checked, the share that must show both the same class.
        tell: shows progress.

    Raises:
        CompileMismatch: with no choice of layers do both agree often enough.
    """
    shown = list(calibration.crops(calibration.CALIBRATION, transform))
    held_out = list(calibration.crops(calibration.HELD_OUT, transform))
    expected = _answers(graph, held_out)
    best = 0.0
    for choice in choices(openvino.Core().read_model(graph)):
        tell(f"quantizing; in float32 stays {choice[0]}")
        _write(graph, shown, choice, out)
        found = compare(expected, _answers(out, held_out), choice[0])
        tell(f"finds the same class as fp32 in {found.agreement:.1%} of {found.pictures} pictures")
        if found.agreement >= least_agreement:
            return found
        best = max(best, found.agreement)
    raise CompileMismatch(
        f"int8 finds the same class as fp32 in {best:.1%} of {len(held_out)} pictures at best, "
        f"which is under {least_agreement:.0%}: use PRECISION=fp32"
    )


def _answers(graph: Path, shown: Sequence[Crop]) -> Probabilities:
    """Return (N, C) probabilities of N pictures."""
    engine: Engine = OpenVinoEngine(graph, threads=cpu_quota())
    return np.concatenate([engine(each) for each in shown])


def compare(expected: Probabilities, actual: Probabilities, floating: str) -> Quantization:
    """Return how far (N, C) probabilities in int8 agree with those in fp32."""
    rows = np.arange(len(expected))
    chosen = actual.argmax(axis=1)
    short = expected.max(axis=1) - expected[rows, chosen]
    finite = np.isfinite(actual).all(axis=1)  # else the largest is chance
    return Quantization(
        floating,
        agreement=float((finite & (short <= NEAR_TIE)).mean()),
        same_class=float((finite & (short == 0)).mean()),
        pictures=len(expected),
        largest_difference=float(np.abs(expected - actual).max()),
    )


def _write(graph: Path, shown: Sequence[Crop], choice: Choice, out: Path) -> None:
    """Write the int8 form of a graph, but for the layers of a choice."""
    model = openvino.Core().read_model(graph)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # of NNCF's dependencies; the result is checked
        openvino.save_model(_with_nncf(model, shown, choice), out, compress_to_fp16=False)


def _with_nncf(model: Any, shown: Sequence[Crop], choice: Choice) -> Any:
    """Return NNCF's int8 form of a model.

    Ranges reach to the smallest and largest number seen: NNCF's default, the mean of each
    picture's largest, cuts off what is bright. Attention needs NNCF's own treatment of it.
    """
    import nncf  # here: it takes seconds, and fp32 does without
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level would set handlers, too
    whole_range = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )
    attention = has_attention(model)
    return nncf.quantize(
        model,
        nncf.Dataset(shown),
        subset_size=len(shown),
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        ignored_scope=nncf.IgnoredScope(names=list(choice[1])),
        advanced_parameters=None if attention else whole_range,
    )


def has_attention(model: Any) -> bool:
    """Return whether a classifier has a softmax beside the one that ends it."""
    return [each.get_type_name() for each in model.get_ops()].count("Softmax") > 1


def choices(model: Any) -> list[Choice]:
    """Return which layers of a convolutional network may stay in float32, the fastest choice first.

    Depthwise convolutions compute little but suffer most, since their channels share one range
    though their sizes differ. The smaller the maps they work on, the more harm they do and the
    less time they take: those on the smallest stay in float32 always. With EfficientNet-Lite some
    probabilities are off by 0.3 otherwise, and by 0.1 this way.
    """
    found = [each for each in model.get_ordered_ops() if "Convolution" in each.get_type_name()]
    depthwise = [each for each in found if each.get_type_name() == "GroupConvolution"]
    first_three = "normalisation, the first three convolutions"
    kept = {
        f"{first_three}, depthwise ones on maps up to {height} pixels high": (
            found[:3] + [each for each in depthwise if _height(each) <= height]
        )
        for height in sorted({_height(each) for each in depthwise})
    }
    if not depthwise:
        kept = {"normalisation": [], "normalisation, the first convolution": found[:1]}
        kept[first_three] = found[:3]
    before = _normalisation(found[0])
    return [(name, _names([*before, *layers])) for name, layers in kept.items()]


def _names(layers: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.get_friendly_name() for each in layers))


def _height(layer: Any) -> int:
    height: int = layer.get_output_partial_shape(0)[2].get_length()
    return height


def _normalisation(first: Any) -> list[Any]:
    """Return what comes between the input and the first convolution."""
    found = []
    node = first.input_value(0).get_node()
    while node.get_type_name() != "Parameter":
        found.append(node)
        node = node.input_value(0).get_node()
    return found
