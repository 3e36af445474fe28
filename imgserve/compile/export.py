"""Export a torchvision classifier to OpenVINO's form, check it, put it in place.

An int8 model is first exported in fp32 and checked against torch, then quantized and checked
against that.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.jit._trace import TracerWarning

from imgserve import __version__
from imgserve.compile import weights
from imgserve.compile.quantize import LEAST_AGREEMENT, quantize
from imgserve.compile.torch_engine import Servable, TorchEngine
from imgserve.errors import CompileMismatch
from imgserve.machine import cpu_quota
from imgserve.models import catalogue
from imgserve.models import compiled_model as artefact
from imgserve.models.classifier import Engine
from imgserve.models.compiled_model import FP32, INT8, ModelInfo, Quantization, Transform
from imgserve.models.openvino_engine import OpenVinoEngine
from imgserve.models.openvino_import import openvino
from imgserve.models.transform import Crop, crop

SAMPLES = Path(__file__).parent.parent / "samples"
TOLERANCE = 1e-4  # of a probability; float32 sums in another order differ by about 1e-6
TIE = 1e-6  # two classes closer than this are equally probable, either may come first
NOISE_PICTURES = 4


def versions(precision: str = FP32) -> dict[str, str]:
    """Return the versions of what compiles."""
    names = ["torch", "torchvision", "openvino"]
    if precision == INT8:
        names.append("nncf")
    return {"imgserve": __version__, **{name: version(name) for name in names}}


def export(
    model_id: str,
    original: Servable,
    transform: Transform,
    out: Path,
    *,
    precision: str = FP32,
    least_agreement: float = LEAST_AGREEMENT,
) -> ModelInfo:
    """Write the artefact of a model that is in memory and return what it is.

    Args:
        model_id: a name of the catalogue.
        original: the model.
        transform: the model's.
        out: the folder of compiled models.
        precision: ``fp32`` or ``int8``.
        least_agreement: see ``quantize``.

    Raises:
        CompileMismatch: the compiled model answers otherwise than the original.
    """
    with tempfile.TemporaryDirectory(dir=out, prefix=f"{model_id}.") as draft:
        graph = Path(draft) / "model.xml"
        say(model_id, "exporting")
        write_graph(original, transform, graph)
        difference = _check(model_id, original, transform, graph)
        made = None
        if precision == INT8:
            exact, graph = graph, Path(draft) / "int8.xml"
            tell = partial(say, model_id)
            made = quantize(exact, transform, graph, least_agreement=least_agreement, tell=tell)
        info = describe(model_id, transform, graph, difference, made)
        put_in_place(graph, info, out)
    return info


def _check(model_id: str, original: Servable, transform: Transform, graph: Path) -> float:
    """Return by how much any probability differs from torch's; errors as that."""
    say(model_id, "checking against torch")
    engine = TorchEngine(original, threads=cpu_quota())
    compiled = OpenVinoEngine(graph, threads=cpu_quota())
    difference = largest_difference(engine, compiled, check_pictures(transform))
    say(model_id, f"compiled; probabilities differ by {difference:.1e} at most")
    return difference


def write_graph(original: Servable, transform: Transform, graph: Path) -> None:
    """Write OpenVINO's form of a model for one picture at a time, in full precision.

    What only depends on the input's shape, such as how far to pad, is computed here once, or it
    would be at each load: of EfficientNet-Lite three layers of four are of that kind.
    """
    from openvino.passes import ConstantFolding, Manager
    from openvino.tools.ovc import convert_model  # after openvino itself: see runtime

    shape = (1, transform.crop_size, transform.crop_size, 3)
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        # Sizes become constants in the graph, which is meant: the input's shape is fixed.
        warnings.simplefilter("ignore", TracerWarning)
        # torch deprecates torch.jit, which OpenVINO's exporter still uses.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = convert_model(original, example_input=example, input=list(shape))
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    openvino.save_model(model, graph, compress_to_fp16=False)


def check_pictures(transform: Transform) -> Iterator[Crop]:
    """Return crops of the bundled pictures, then noise, each (1, H, W, 3) uint8."""
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as picture:
            yield crop(picture.convert("RGB"), transform)
    noise = np.random.default_rng(seed=0)
    shape = (1, transform.crop_size, transform.crop_size, 3)
    for _ in range(NOISE_PICTURES):
        yield noise.integers(0, 256, shape, dtype=np.uint8)


def largest_difference(original: Engine, compiled: Engine, crops: Iterator[Crop]) -> float:
    """Return the largest difference of any probability.

    Raises:
        CompileMismatch: it is above the tolerance, or the most probable class is another one.
    """
    largest = 0.0
    for one in crops:
        expected, actual = original(one)[0], compiled(one)[0]
        largest = max(largest, float(np.abs(expected - actual).max()))
        if largest > TOLERANCE or not np.isfinite(actual).all():
            raise CompileMismatch(f"probabilities differ by {largest:.1e}, over {TOLERANCE:.0e}")
        if expected[actual.argmax()] < expected.max() - TIE:
            raise CompileMismatch("the most probable class is another one")
    return largest


def describe(
    model_id: str,
    transform: Transform,
    graph: Path,
    difference: float,
    quantization: Quantization | None = None,
) -> ModelInfo:
    """Return the description of a graph just written, with the names its files will have."""
    entry = catalogue.entry(model_id)
    precision = INT8 if quantization else FP32
    files = [artefact.described(path, "") for path in (graph, graph.with_suffix(".bin"))]
    hashes = files[0].sha256[:8] + files[1].sha256[:8]
    stem = f"{artefact.stem(model_id, precision)}-{hashes}"
    names = (f"{stem}.xml", f"{stem}.bin")
    named = [artefact.File(n, f.size_bytes, f.sha256) for n, f in zip(names, files, strict=True)]
    return ModelInfo(
        format=artefact.FORMAT,
        model=model_id,
        precision=precision,
        parameters=entry.parameters,
        top1=entry.top1,
        transform=transform,
        categories=weights.default_weights(model_id).meta["categories"],
        largest_difference=difference,
        versions=versions(precision),
        graph=named[0],
        weights=named[1],
        quantization=quantization,
    )


def put_in_place(graph: Path, info: ModelInfo, out: Path) -> None:
    """Move a checked graph to where it is served from; remove what it replaces."""
    graph.replace(out / info.graph.name)
    graph.with_suffix(".bin").replace(out / info.weights.name)
    artefact.write_info(out, info)
    for old in out.glob(f"{artefact.stem(info.model, info.precision)}-*"):
        if old.name not in (info.graph.name, info.weights.name):
            old.unlink()


def say(model_id: str, what: str) -> None:
    """Show progress to the person who waits."""
    print(f"{model_id}: {what}", file=sys.stderr, flush=True)
