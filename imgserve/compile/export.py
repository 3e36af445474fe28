"""Export a classifier to OpenVINO's format, check it, put it in place.

An int8 model is first exported in fp32 and compared with the original, then quantized and compared
with the fp32 model.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from imgserve import __version__
from imgserve.compile.original import Original, check_crops, say
from imgserve.compile.quantize import LEAST_AGREEMENT, bundled, labelled, quantize, save_graph
from imgserve.errors import CompiledModelInvalid, CompileMismatch
from imgserve.machine import cpu_quota
from imgserve.models import compiled_model
from imgserve.models.classifier import Crop, Engine
from imgserve.models.compiled_model import FP32, INT8, PRECISIONS, ModelInfo, Quantization
from imgserve.models.openvino_engine import OpenVinoEngine

TOLERANCE = 1e-4  # of a probability; adding float32 in another order changes it by about 1e-6
TIE = 1e-6  # classes closer than this are equally probable: either may come first


def versions(precision: str = FP32) -> dict[str, str]:
    """Return the versions of the packages that compile."""
    names = ["torch", "torchvision", "openvino", *(["nncf"] if precision == INT8 else [])]
    return {"imgserve": __version__, **{name: version(name) for name in names}}


def export(
    model_id: str,
    original: Original,
    out: Path,
    *,
    precision: str = FP32,
    least_agreement: float = LEAST_AGREEMENT,
    photos: Path | None = None,
) -> ModelInfo:
    """Compile a model that is in memory into the folder ``out``; return its description.

    Int8 must find fp32's class in a share of pictures, ``least_agreement``; or labelled ``photos``
    judge it, see ``imgserve.evaluate``. CompileMismatch where the compiled model answers
    differently from the original, EvaluationFailed where the photos cannot be used.
    """
    sample = labelled(photos, original.categories, original.transform) if photos else None
    with tempfile.TemporaryDirectory(dir=out, prefix=f"{model_id}.") as draft:
        graph = Path(draft, "model.xml")
        say(model_id, "exporting")
        write_graph(original, graph)
        say(model_id, "checking against the original")
        compiled = OpenVinoEngine(graph, threads=cpu_quota())
        pictures = check_crops(original.transform)
        difference = largest_difference(original.engine, compiled, pictures)
        say(model_id, f"compiled; probabilities differ by {difference:.1e} at most")
        quantization = None
        if precision == INT8:
            fp32_graph, graph = graph, Path(draft, "int8.xml")
            sample = sample or bundled(original.transform)
            quantization = quantize(model_id, fp32_graph, sample, graph, least_agreement)
        info = describe(model_id, original, graph, difference, quantization)
        put_in_place(graph, info, out)
    return info


def write_graph(original: Original, graph: Path) -> None:
    """Write a model in OpenVINO's format, for one picture at a time and in full precision.

    Layers that depend only on the input's shape, such as the width of padding, are computed here
    once instead of at each load. In EfficientNet-Lite these are three layers of four.
    """
    from openvino.passes import ConstantFolding, Manager

    model = original.convert()
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    save_graph(model, graph)


def largest_difference(original: Engine, compiled: Engine, pictures: Iterator[Crop]) -> float:
    """Return the largest difference of any probability.

    CompileMismatch where it exceeds the tolerance, or the most probable class is another one.
    """
    largest = 0.0
    for picture in pictures:
        expected, actual = original(picture)[0], compiled(picture)[0]
        largest = max(largest, float(np.abs(expected - actual).max()))
        if largest > TOLERANCE or not np.isfinite(actual).all():
            raise CompileMismatch(f"probabilities differ by {largest:.1e}, over {TOLERANCE:.0e}")
        if expected[actual.argmax()] < expected.max() - TIE:
            raise CompileMismatch("the most probable class is another one")
    return largest


def describe(
    model_id: str,
    original: Original,
    graph: Path,
    difference: float,
    quantization: Quantization | None,
) -> ModelInfo:
    """Return the description of a graph just written, with the final names of its files."""
    precision = INT8 if quantization else FP32
    paths = (graph, graph.with_suffix(".bin"))
    files = [compiled_model.described(path, path.suffix) for path in paths]
    hashes = "".join(f"{file.crc32:08x}" for file in files)
    stem = f"{compiled_model.stem(model_id, precision)}-{hashes}"
    named = [msgspec.structs.replace(file, name=stem + file.name) for file in files]
    return ModelInfo(
        format=compiled_model.FORMAT,
        model=model_id,
        title=original.entry.title,
        precision=precision,
        parameters=original.parameters,
        top1=original.entry.top1,
        transform=original.transform,
        categories=list(original.categories),
        largest_difference=difference,
        versions=versions(precision),
        graph=named[0],
        weights=named[1],
        source=original.source,
        quantization=quantization,
    )


def put_in_place(graph: Path, info: ModelInfo, out: Path) -> None:
    """Move a checked graph to where it is served from, and remove the files it replaces.

    The same model in the other precision goes, too, where it was made from something else.
    """
    for file in (info.graph, info.weights):
        graph.with_suffix(Path(file.name).suffix).replace(out / file.name)
    compiled_model.write_info(out, info)
    for precision in PRECISIONS:
        with suppress(FileNotFoundError, CompiledModelInvalid):
            there, kept = compiled_model.parse_info(out, info.model, precision), set()
            if there.source == info.source:
                kept = {there.graph.name, there.weights.name}
            else:
                compiled_model.info_path(out, info.model, precision).unlink()
            for path in out.glob(f"{compiled_model.stem(info.model, precision)}-*"):
                if path.name not in kept:
                    path.unlink()
