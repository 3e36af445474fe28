"""A trained classifier as it came: what is compiled, and what the result is compared with.

It is a torch module, or a graph: ONNX or OpenVINO's own form.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from imgserve.errors import OriginalInvalid
from imgserve.machine import cpu_quota
from imgserve.models.catalogue import Entry
from imgserve.models.classifier import Crop, Engine, Probabilities, crop
from imgserve.models.compiled_model import Transform
from imgserve.models.openvino_engine import openvino

SAMPLES = Path(__file__).parent.parent / "samples"
NOISE_PICTURES = 4
RESIZE_TO_CROP = 256 / 224  # as most of torchvision's classifiers have it
SUM_TOLERANCE = 1e-3
CHANNELS = 3
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


class Servable(nn.Module):
    """A classifier that takes crops: normalisation is put before it and softmax after it."""

    def __init__(self, module: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.module = module
        self.side = transform.crop_size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(transform.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """Return (N, C) probabilities of (N, H, W, 3) uint8 crops."""
        pictures = crops.permute(0, 3, 1, 2).float() / 255
        logits: Tensor = self.module((pictures - self.mean) / self.std)
        return logits.softmax(dim=1)

    def answer(self, crops: Crop) -> Probabilities:
        """Return the same as ``forward``, computed by the device that the module is on."""
        with torch.inference_mode():
            found: Tensor = self(torch.tensor(crops, device=self.mean.device))
        return found.cpu().numpy()

    def convert(self) -> Any:
        """Return the same in OpenVINO's form, for one crop."""
        from openvino.tools.ovc import convert_model  # after openvino itself: see openvino_engine

        # Else nn.MultiheadAttention takes another way the second time, and tracing fails.
        torch.backends.mha.set_fastpath_enabled(False)
        shape = (1, self.side, self.side, 3)
        example = torch.zeros(shape, dtype=torch.uint8)
        with warnings.catch_warnings():
            # Sizes become constants in the graph, as intended: the input's shape is fixed.
            warnings.simplefilter("ignore", TracerWarning)
            # torch deprecates torch.jit, which OpenVINO's exporter still uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            return convert_model(self, example_input=example, input=list(shape))


@dataclass(frozen=True)
class Original:
    """A trained classifier, and what serving it takes."""

    entry: Entry
    transform: Transform
    categories: Sequence[str]
    engine: Engine  # what the compiled model is compared with
    # Returns its graph in OpenVINO's form: of (1, H, W, 3) uint8 crops (1, C) probabilities.
    convert: Callable[[], Any]
    parameters: int
    source: str = ""  # a hash of what a person's own model was made from
    servable: Servable | None = None  # the torch module behind it, where there is one


def of_module(
    module: nn.Module, transform: Transform, categories: Sequence[str], entry: Entry
) -> Original:
    """Return a classifier that is a torch module, which gives logits."""
    torch.set_num_threads(cpu_quota())
    servable = Servable(module, transform).eval()
    return Original(
        entry,
        transform,
        categories,
        engine=servable.answer,
        convert=servable.convert,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        servable=servable,
    )


def check_crops(transform: Transform) -> Iterator[Crop]:
    """Yield what two forms of a model are compared with: the bundled pictures, then noise."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as picture:
            yield crop(picture.convert("RGB"), transform)
    noise = np.random.default_rng(seed=0)
    shape = (1, transform.crop_size, transform.crop_size, 3)
    for _ in range(NOISE_PICTURES):
        yield noise.integers(0, 256, shape, dtype=np.uint8)


def say(model_id: str, what: str) -> None:
    """Show progress to the person who is waiting."""
    print(f"{model_id}: {what}", file=sys.stderr, flush=True)


def of_graph(model_id: str, path: Path, entry: Entry, categories: Sequence[str]) -> Original:
    """Return the classifier of a file, made to take crops and to give probabilities.

    OriginalInvalid where it is damaged, has operators that cannot be computed, or other inputs,
    outputs or sizes than a classifier of pictures of these classes.
    """
    model, layout, transform = _graph(path, entry, len(categories))
    compute = _onnx_runtime(path) if entry.onnx else openvino.compile_model(model, "CPU", F32)

    def run(crops: Crop, *, softmax: bool = False) -> Probabilities:
        values = ((crops / 255 - transform.mean) / transform.std).astype(np.float32)
        given = values if layout == "NHWC" else values.transpose(0, 3, 1, 2).copy()
        found = torch.tensor(compute(given)[0]).float()
        return (found.softmax(dim=1) if softmax else found).numpy()

    rows = np.concatenate([run(crops) for crops in check_crops(transform)])
    if not np.isfinite(rows).all():
        raise OriginalInvalid(f"{path.name} gives numbers that are not finite (NaN or infinity)")
    gives_logits = bool((rows < 0).any() or (abs(rows.sum(axis=1) - 1) > SUM_TOLERANCE).any())
    what = "logits, so softmax follows" if gives_logits else "probabilities"
    side = transform.crop_size
    say(model_id, f"{path.name} takes {layout} of {side} x {side} and gives {what}")
    return Original(
        entry,
        transform,
        categories,
        engine=partial(run, softmax=gives_logits),
        convert=partial(_prepared, model, layout, transform, gives_logits),
        parameters=_parameters(model),
    )


def _graph(path: Path, entry: Entry, labels: int) -> tuple[Any, str, Transform]:
    """Return a graph of one crop and a number for each label, its layout and its transform."""
    if entry.mean is None or entry.std is None:
        raise OriginalInvalid(
            f"{path.name}: say mean and std that it was trained with, such as [0.0, 0.0, 0.0] and "
            "[1.0, 1.0, 1.0] where pictures were not normalised"
        )
    model = _read(path)
    layout, side = _layout(path, model, entry)
    model.reshape([1, CHANNELS, side, side] if layout == "NCHW" else [1, side, side, CHANNELS])
    shape = model.output(0).get_partial_shape()
    if shape.is_dynamic or list(shape.to_shape()) != [1, labels]:
        count = shape[-1] if shape.rank.is_static and len(shape) == 2 else shape  # noqa: PLR2004
        raise OriginalInvalid(f"there are {labels} labels, but {path.name} has {count} outputs")
    resize = max(entry.resize or round(side * RESIZE_TO_CROP), side)
    filter_ = entry.interpolation or "bilinear"
    low, high = entry.value_range
    mean = tuple((np.subtract(entry.mean, low) / (high - low)).tolist())
    std = tuple((np.array(entry.std) / (high - low)).tolist())
    return model, layout, Transform(resize, side, filter_, mean, std)


def _read(path: Path) -> Any:
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as exc:
        lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
        unsupported = [line for line in lines if "operation" in line or "No conversion" in line]
        reason = unsupported[0] if unsupported else f"it is damaged or no graph ({lines[-1]})"
        raise OriginalInvalid(f"{path.name} cannot be read: {reason}") from exc
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise OriginalInvalid(
            f"{path.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a "
            "classifier has one of each"
        )
    return model


def _layout(path: Path, model: Any, entry: Entry) -> tuple[str, int]:
    """Return the order of the input's axes, and the side of the square that it takes."""
    shape = model.input(0).get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4:  # noqa: PLR2004  pictures, rows, columns, channels
        raise OriginalInvalid(f"{path.name} takes {shape}, which are no pictures: it needs 4 axes")
    sizes = [axis.get_length() if axis.is_static else None for axis in shape]
    layouts = {"NCHW": (sizes[1], sizes[2:]), "NHWC": (sizes[3], sizes[1:3])}
    if entry.layout:
        layouts = {entry.layout: layouts[entry.layout]}
    fitting = {name: sides for name, (count, sides) in layouts.items() if count == CHANNELS}
    if len(fitting) != 1:
        raise OriginalInvalid(
            f"{path.name} takes {shape}: say its layout, NCHW or NHWC, of which C is 3"
        )
    ((layout, (height, width)),) = fitting.items()
    side = entry.crop or height
    if side is None or {height, width} - {None, side}:
        raise OriginalInvalid(
            f"{path.name} takes pictures of {height or '?'} x {width or '?'}: say crop, the side "
            "of the square that it was trained with; one of fixed size takes no other"
        )
    return layout, side


def _onnx_runtime(path: Path) -> Callable[[Any], Any]:
    import onnxruntime  # here: only ONNX needs it, and only to compare

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_quota()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {session.get_inputs()[0].name: values})


def _prepared(model: Any, layout: str, transform: Transform, gives_logits: bool) -> Any:
    """Return the graph with its preparation before it and, where it needs it, softmax after it."""
    from openvino import Layout, Model, Type, opset13
    from openvino.preprocess import PrePostProcessor

    prepared = PrePostProcessor(model)
    prepared.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    prepared.input().model().set_layout(Layout(layout))
    steps = prepared.input().preprocess().convert_element_type(Type.f32)
    steps.mean([255 * mean for mean in transform.mean])
    steps.scale([255 * std for std in transform.std])
    built = prepared.build()
    if not gives_logits:
        return built
    logits = built.output(0).get_node().input_value(0)
    return Model([opset13.softmax(logits, axis=1)], built.get_parameters(), built.get_name())


def _parameters(model: Any) -> int:
    """Return how many floating-point numbers the graph holds."""
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    real = [op for op in constants if op.get_element_type().is_real()]
    return sum(prod(op.get_output_shape(0)) for op in real)
