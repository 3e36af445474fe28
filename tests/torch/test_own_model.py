"""A trained file of a person's own: what becomes of it, and what is said of each fault."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from safetensors.torch import save_file
from torch import Tensor, nn

from imgserve.compile import __main__ as compiling
from imgserve.compile import torch_worker, torchvision
from imgserve.models import catalogue, compiled_model, openvino_engine
from imgserve.models.compiled_model import ModelInfo
from imgserve.settings import BackendSettings
from tests.servers import Quiet, served
from tests.unit import pictures

ARCHITECTURE = "shufflenet_v2_x0_5"  # torchvision's smallest
LABELS = ["cat", "dog", "bird"]
MODULE = """
from torch import nn

def one_layer(num_classes):
    return nn.Sequential(nn.Conv2d(3, num_classes, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
OWN = 'architecture = "one_layer"\nmodule = "net.py"\ncrop = 8\nresize = 8\n'
PREPARED = 'interpolation = "bilinear"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n'


def tensors(architecture: str = ARCHITECTURE, classes: int = 3) -> dict[str, Tensor]:
    """Return what a training might have ended with."""
    torch.manual_seed(1)
    module = torchvision.models.get_model(architecture, num_classes=classes)
    return dict(module.state_dict())


class Person:
    """Somebody with a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "weights" / "compiled"
        self.labels = folder / "pets.txt"
        self.labels.write_text("\n".join(LABELS) + "\n")
        self.name, self.text = "pets", ""

    def describe(self, text: str, name: str = "pets") -> None:
        self.name, self.text = name, f'[{name}]\ntitle = "Pets"\n{text}\n'
        (self.folder / "models.toml").write_text(self.text)
        catalogue.catalogue.cache_clear()  # a process reads it once

    def save(self, content: object, name: str = "pets.pt") -> None:
        torch.save(content, self.folder / name)
        self.describe(f'architecture = "{ARCHITECTURE}"\nweights = "{name}"\nlabels = "pets.txt"')

    def compile(self, *options: str) -> int:
        given = ["--out", str(self.out), "--checkpoints", str(self.folder / "checkpoints")]
        given += ["--models-file", str(self.folder / "models.toml")]
        return compiling.main([self.name, *given, *options])

    def compiled(self) -> ModelInfo:
        assert self.compile() == 0
        return compiled_model.read_info(self.out, self.name)


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def probabilities(person: Person, load: Callable[..., Any]) -> np.ndarray:
    settings = BackendSettings(
        weights_dir=person.out.parent, threads=1, models_file=person.folder / "models.toml"
    )
    found: np.ndarray = load(settings, person.name).probabilities(pictures.picture("chelsea.png"))
    return found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda found: found, ""),
        (lambda found: {"state_dict": found, "epoch": 3, "optimizer": {}}, ""),
        (lambda found: {"module." + name: value for name, value in found.items()}, "'module.'"),
    ],
)
def test_a_state_dict_is_compiled_and_answers_as_torch_does(
    content: Callable[[dict[str, Tensor]], object],
    said: str,
    person: Person,
    capsys: pytest.CaptureFixture[str],
) -> None:
    person.save(content(tensors()))
    info = person.compiled()
    assert (info.title, info.categories, info.top1) == ("Pets", LABELS, None)
    assert info.transform.crop_size == 224  # of the architecture's own weights
    assert info.parameters == sum(
        value.numel() for name, value in tensors().items() if name.endswith((".weight", ".bias"))
    )
    assert said in capsys.readouterr().err
    ours, theirs = (
        probabilities(person, load) for load in (openvino_engine.load, torch_worker.load)
    )
    assert np.abs(ours - theirs).max() < 1e-2  # bfloat16, where this machine has it


@pytest.mark.parametrize("classes", [LABELS, {"dog": 1, "cat": 0, "bird": 2}])
def test_a_checkpoint_may_name_its_classes(classes: object, person: Person) -> None:
    (person.folder / "net.py").write_text(MODULE)
    content = {"0.weight": torch.rand(3, 3, 8, 8), "0.bias": torch.zeros(3)}
    torch.save({"state_dict": content, "classes": classes}, person.folder / "pets.pt")
    person.describe(OWN + PREPARED + 'weights = "pets.pt"')
    assert person.compiled().categories == LABELS


def test_safetensors_and_labels_in_the_description(person: Person) -> None:
    (person.folder / "net.py").write_text(MODULE)
    content = {"0.weight": torch.rand(2, 3, 8, 8), "0.bias": torch.zeros(2)}
    save_file(content, person.folder / "pets.safetensors")
    person.describe(OWN + PREPARED + 'weights = "pets.safetensors"\nlabels = ["a", "b"]')
    assert person.compiled().categories == ["a", "b"]


def test_an_architecture_alone_is_torchvisions_own_model(person: Person) -> None:
    person.describe('architecture = "efficientnet_lite0"\nresize = 224', name="lite")
    info = person.compiled()
    assert (info.title, len(info.categories), info.transform.resize_size) == ("Pets", 1000, 224)


def test_a_change_of_what_it_is_made_from_is_compiled_and_nothing_else(
    person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    (person.folder / "net.py").write_text(MODULE)
    torch.save(
        {"0.weight": torch.rand(3, 3, 8, 8), "0.bias": torch.zeros(3)}, person.folder / "p.pt"
    )
    person.describe(OWN + PREPARED + 'weights = "p.pt"\nlabels = "pets.txt"')
    sources = [person.compiled().source, person.compiled().source]
    assert sources[0] == sources[1]
    assert capsys.readouterr().err.count("is compiled already") == 1
    int8 = person.out / "pets.int8.json"
    int8.write_bytes((person.out / "pets.json").read_bytes().replace(b'"fp32"', b'"int8"'))
    assert person.compile("--force") == 0
    assert int8.exists()
    person.labels.write_text("lion\ndog\nbird\n")
    assert person.compiled().categories[0] == "lion"
    assert not int8.exists()  # it is of what there was before
    person.describe(OWN + PREPARED + 'weights = "p.pt"\nlabels = "pets.txt"\nsamples = "x"')
    assert person.compiled().source != sources[0]


# --- from elsewhere ------------------------------------------------------------------------------


def test_weights_come_by_gs_and_by_https_with_their_hash(
    person: Person, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (person.folder / "net.py").write_text(MODULE)
    content = {"0.weight": torch.rand(3, 3, 8, 8), "0.bias": torch.zeros(3)}
    torch.save(content, person.folder / "pets.pt")
    data = (person.folder / "pets.pt").read_bytes()

    class Storage(Quiet):
        def respond(self) -> None:
            known = self.path == "/storage/v1/b/bucket/o/a%2Fpets.pt?alt=media"
            self.answer(200 if known else 404, data)

    with served(Storage) as base:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", base)
        person.describe(OWN + PREPARED + 'weights = "gs://bucket/a/pets.pt"\nlabels = "pets.txt"')
        assert person.compiled().categories == LABELS
        person.describe(OWN + PREPARED + 'weights = "gs://bucket/b/pets.pt"\nlabels = "pets.txt"')
        assert person.compile("--force") == 1
        assert "gs://bucket/b/pets.pt could not be read (404" in capsys.readouterr().err
    kept = person.folder / "checkpoints" / f"{hashlib.sha256(data).hexdigest()[:16]}-pets.pt"
    kept.write_bytes(data)  # as a download from https would leave it: no certificate here
    for digest, status in ((hashlib.sha256(data).hexdigest(), 0), ("0" * 64, 1)):
        address = f'weights = "https://127.0.0.1:9/pets.pt"\nsha256 = "{digest}"\n'
        person.describe(OWN + PREPARED + address + 'labels = "pets.txt"')
        assert person.compile("--force") == status
    assert "https://127.0.0.1:9/pets.pt could not be downloaded" in capsys.readouterr().err


# --- faults --------------------------------------------------------------------------------------


class WholeModule(nn.Module):
    pass


def renamed(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {("net." if "fc" in name else "") + name: value for name, value in found.items()}


def with_nan(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return found | {"fc.bias": torch.tensor([0, float("nan"), 0])}


def other_head(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("fc.", "fc.1."): value for name, value in found.items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tensors("squeezenet1_1"), "most likely it is of another architecture"),
        (
            tensors("squeezenet1_1"),
            "pets.pt lacks conv1.0.weight, conv1.1.weight, conv1.1.bias and",
        ),
        (renamed(tensors()), "most likely a wrapper's prefix, net., on some of the names"),
        (other_head(tensors()), "unexpectedly has fc.1.weight, fc.1.bias: most likely its last"),
        (WholeModule(), "a whole pickled module (the class "),
        ({"state_dict": tensors(), "model": WholeModule()}, "torch.save(model.state_dict()"),
        (tensors(classes=4), "there are 3 labels, but pets.pt has 4 outputs"),
        (tensors(classes=2), "there are 3 labels, but pets.pt has 2 outputs"),
        (with_nan(tensors()), "fc.bias holds numbers that are not finite"),
        ({"epoch": 3}, "pets.pt has no state dict"),
        ([1, 2], "pets.pt holds a list, not a state dict"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why_and_leaves_nothing(
    content: object, said: str, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    person.save(content)
    assert person.compile() == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "loading" not in line]
    assert line.startswith("pets: ")
    assert said in line
    assert [path.name for path in person.out.iterdir()] == ["pets.lock"]


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"no checkpoint", "pets.pt", "pets.pt is damaged, or no file that torch.save wrote"),
        (b"", "pets.pt", "pets.pt is damaged, or no file"),
        (b"no header", "pets.safetensors", "pets.safetensors cannot be read as safetensors"),
        (None, "pets.pt", "pets.pt is not there"),
    ],
)
def test_a_damaged_file_of_weights_is_named(
    data: bytes | None, name: str, said: str, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    person.save({}, name)
    (person.folder / name).unlink()
    if data is not None:
        (person.folder / name).write_bytes(data)
    assert person.compile() == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'architecture = "resnet8"\nweights = "pets.pt"',
            "has no classifier 'resnet8'",
        ),
        ('weights = "pets.pt"', "torchvision has no classifier 'pets'"),
        (f'architecture = "{ARCHITECTURE}"\nweights = "pets.pt"', "no names of classes"),
        (OWN + 'weights = "one.pt"\nlabels = ["a"]', "say interpolation, mean, std"),
        (OWN.replace("net.py", "no.py") + 'weights = "pets.pt"', "no.py is no module"),
        (OWN.replace("net.py", "bad.py") + 'weights = "p"', "bad.py failed: ZeroDivisionError"),
        (f'architecture = "{ARCHITECTURE}"\nweights = "pets.pt"\nlabels = "no.txt"', "no.txt"),
        (f'architecture = "{ARCHITECTURE}"\nweights = "pets.pt"\nlabels = "gap.txt"', "line 2"),
        ('weights = "https://a.invalid/p.pt"\narchitecture = "alexnet"', "needs its hash"),
        ('weights = "ftp://a.invalid/p.pt"\narchitecture = "alexnet"', "give a path, https://"),
        (
            f'architecture = "{ARCHITECTURE}"\nweights = "pets.pt"\nsha256 = "{"0" * 64}"',
            "pets.pt has another SHA-256 than sha256 says",
        ),
    ],
)
def test_a_description_that_cannot_be_used_says_why(
    text: str, said: str, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    person.save(tensors())
    (person.folder / "net.py").write_text(MODULE)
    (person.folder / "bad.py").write_text("1 / 0")
    one = {"0.weight": torch.rand(1, 3, 8, 8), "0.bias": torch.zeros(1)}
    torch.save(one, person.folder / "one.pt")
    (person.folder / "gap.txt").write_text("cat\n\nbird\n")
    person.describe(text)
    assert person.compile() == 1
    assert said in capsys.readouterr().err


# --- graphs --------------------------------------------------------------------------------------


def write_onnx(
    path: Path, shape: list[object], operators: list[str], *, channels_last: bool = False
) -> None:
    """Write a classifier of three classes: mean of the picture's colours, then operators."""
    axes = [1, 2] if channels_last else [2, 3]
    names = ["colours", *(f"after{number}" for number in range(len(operators)))]
    nodes = [helper.make_node("ReduceMean", ["picture"], ["colours"], axes=axes, keepdims=0)]
    nodes += [
        helper.make_node(name, [before], [after], **({"axis": 1} if name == "Softmax" else {}))
        for name, before, after in zip(operators, names, names[1:], strict=False)
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info(names[-1], kind, [shape[0], 3])],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


STATED = "mean = [0.0, 0.0, 0.0]\nstd = [0.2, 0.2, 0.2]\n"


@pytest.mark.parametrize(
    ("shape", "more", "operators", "said"),
    [
        ([1, 3, 32, 32], "", [], "takes NCHW of 32 x 32 and gives logits, so softmax follows"),
        (["batch", 3, 32, 32], "", ["Softmax"], "takes NCHW of 32 x 32 and gives probabilities"),
        ([1, 3, "h", "w"], "crop = 32\nresize = 40", ["Softmax"], "takes NCHW of 32 x 32"),
        ([1, 32, 32, 3], "value_range = [-1.0, 1.0]", [], "takes NHWC of 32 x 32"),
        ([1, 3, 32, 3], 'layout = "NCHW"', [], "pictures of 32 x 3: say crop"),
        ([1, 3, "h", "w"], "", [], "pictures of ? x ?: say crop"),
        ([1, 3, 32, 32], "crop = 64", [], "one of fixed size takes no other"),
        ([1, 3, 3, 3], "", [], "say its layout, NCHW or NHWC"),
        ([1, 4, 32, 32], "", [], "say its layout, NCHW or NHWC, of which C is 3"),
        ([1, 3, 32, 32], 'labels = ["a", "b"]', [], "there are 2 labels, but pets.onnx has 3"),
        ([1, 3, 32, 32], "", ["Log", "Log"], "not finite"),
        ([1, 3, 32, 32], "", ["Unheard"], "Unheard"),
    ],
)
def test_a_graph_of_onnx_is_served_or_says_why_not(
    shape: list[object],
    more: str,
    operators: list[str],
    said: str,
    person: Person,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_onnx(person.folder / "pets.onnx", shape, operators, channels_last=shape[-1] == 3)
    labels = "" if "labels" in more else 'labels = ["red", "green", "blue"]\n'
    person.describe(f'onnx = "pets.onnx"\n{labels}{STATED}{more}')
    status = person.compile()
    err = capsys.readouterr().err
    assert said in err
    if " and gives " not in err:
        assert status == 1
        return
    assert status == 0
    found = probabilities(person, openvino_engine.load)
    assert person.compiled().categories[int(found.argmax())] == "red"  # the cat is ginger
    assert found.sum() == pytest.approx(1, abs=1e-3)


def test_a_graph_of_openvino_is_served(person: Person) -> None:
    write_onnx(person.folder / "pets.onnx", [1, 3, 32, 32], [])
    graph = openvino_engine.openvino.Core().read_model(person.folder / "pets.onnx")
    openvino_engine.openvino.save_model(graph, person.folder / "pets.xml")
    person.describe(f'openvino = "pets.xml"\nlabels = ["red", "green", "blue"]\n{STATED}')
    person.compiled()
    assert probabilities(person, openvino_engine.load).argmax() == 0


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        (b"no graph", STATED, "pets.onnx cannot be read: it is damaged or no graph"),
        (b"no graph", "", "say mean and std that it was trained with"),
    ],
)
def test_an_unreadable_graph_is_named(
    data: bytes, more: str, said: str, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    (person.folder / "pets.onnx").write_bytes(data)
    person.describe(f'onnx = "pets.onnx"\nlabels = "pets.txt"\n{more}')
    assert person.compile() == 1
    assert said in capsys.readouterr().err


def test_what_is_compiled_is_listed_as_json(person: Person) -> None:
    person.save(tensors())
    written = json.loads((person.out / f"{person.compiled().model}.json").read_text())
    assert written["source"]
    assert written["title"] == "Pets"
