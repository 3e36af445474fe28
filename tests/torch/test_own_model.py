"""A trained file of a person's own: what becomes of it, and what is said of each fault."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from imgserve.compile import __main__ as compiling
from imgserve.compile import torch_worker, torchvision
from imgserve.models import catalogue, compiled_model, openvino_engine
from imgserve.models.compiled_model import ModelInfo
from imgserve.settings import BackendSettings
from tests.servers import Quiet, served
from tests.unit import pictures

SHUFFLENET = 'architecture = "shufflenet_v2_x0_5"\n'  # torchvision's smallest
LABELS = ["cat", "dog", "bird"]
MODULE = """
from torch import nn

def one_layer(num_classes):
    return nn.Sequential(nn.Conv2d(3, num_classes, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
OWN = 'architecture = "one_layer"\nmodule = "net.py"\ncrop = 8\nresize = 8\n'
STATED = "mean = [0.0, 0.0, 0.0]\nstd = [0.2, 0.2, 0.2]\n"
ONE_LAYER = OWN + STATED + 'interpolation = "bilinear"\n'
COLOURS = 'labels = ["red", "green", "blue"]\n'


def tensors(architecture: str = "shufflenet_v2_x0_5", classes: int = 3) -> dict[str, Tensor]:
    """Return what a training might have ended with."""
    torch.manual_seed(1)
    module = torchvision.models.get_model(architecture, num_classes=classes)
    return dict(module.state_dict())


def one_layer(classes: int = 3) -> dict[str, Tensor]:
    """Return the same for ``ONE_LAYER``."""
    return {"0.weight": torch.rand(classes, 3, 8, 8), "0.bias": torch.zeros(classes)}


class Person:
    """Somebody with a folder of their own, and what they are told."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.out, self.capsys = folder, folder / "weights" / "compiled", capsys
        self.models_file = folder / "models.toml"
        (folder / "net.py").write_text(MODULE)
        (folder / "pets.txt").write_text("\n".join(LABELS) + "\n")

    def save(self, content: object, name: str = "pets.pt") -> None:
        torch.save(content, self.folder / name)

    def compile(self, description: str, *options: str) -> tuple[int, str]:
        """Return the command's exit status and what it said, after a model was described so."""
        self.models_file.write_text(f'[pets]\ntitle = "Pets"\n{description}\n')
        catalogue.catalogue.cache_clear()  # a process reads it once
        given = ["--out", str(self.out), "--checkpoints", str(self.folder / "checkpoints")]
        given += ["--models-file", str(self.models_file)]
        return compiling.main(["pets", *given, *options]), self.capsys.readouterr().err

    def compiled(self, description: str) -> ModelInfo:
        assert self.compile(description)[0] == 0
        return compiled_model.read_info(self.out, "pets")

    def probabilities(self, load: Callable[..., Any] = openvino_engine.load) -> np.ndarray:
        settings = BackendSettings(
            weights_dir=self.out.parent, threads=1, models_file=self.models_file, precision="fp32"
        )
        return pictures.probabilities(load(settings, "pets"), pictures.picture("chelsea.png"))


@pytest.fixture
def person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Person:
    return Person(tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda found: found, ""),
        (lambda found: {"state_dict": found, "epoch": 3, "optimizer": {}}, ""),
        (lambda found: {"module." + name: value for name, value in found.items()}, "'module.'"),
    ],
    ids=["plain", "in a checkpoint", "of DataParallel"],
)
def test_a_state_dict_is_compiled_and_answers_as_torch_does(
    content: Callable[[dict[str, Tensor]], object], said: str, person: Person
) -> None:
    person.save(content(tensors()))
    status, err = person.compile(SHUFFLENET + 'weights = "pets.pt"\nlabels = "pets.txt"')
    assert status == 0
    assert said in err
    info = compiled_model.read_info(person.out, "pets")
    assert (info.title, info.categories, info.top1) == ("Pets", LABELS, None)
    assert info.transform.crop_size == 224  # of the architecture's own weights
    assert info.parameters == sum(
        value.numel() for name, value in tensors().items() if name.endswith((".weight", ".bias"))
    )
    difference = person.probabilities() - person.probabilities(torch_worker.load)
    assert np.abs(difference).max() < 1e-4


@pytest.mark.parametrize("classes", [LABELS, {"dog": 1, "cat": 0, "bird": 2}])
def test_a_checkpoint_may_name_its_classes(classes: object, person: Person) -> None:
    person.save({"state_dict": one_layer(), "classes": classes})
    assert person.compiled(ONE_LAYER + 'weights = "pets.pt"').categories == LABELS


def test_safetensors_and_labels_in_the_description(person: Person) -> None:
    save_file(one_layer(2), person.folder / "pets.safetensors")
    info = person.compiled(ONE_LAYER + 'weights = "pets.safetensors"\nlabels = ["a", "b"]')
    assert info.categories == ["a", "b"]


def test_an_architecture_alone_is_torchvisions_own_model(person: Person) -> None:
    info = person.compiled('architecture = "efficientnet_lite0"\nresize = 224')
    assert (info.title, len(info.categories), info.transform.resize_size) == ("Pets", 1000, 224)


def test_a_change_of_what_it_is_made_from_is_compiled_and_nothing_else(person: Person) -> None:
    description = ONE_LAYER + 'weights = "pets.pt"\nlabels = "pets.txt"\n'
    person.save(one_layer())
    source = person.compiled(description).source
    assert "is compiled already" in person.compile(description)[1]
    int8 = person.out / "pets.int8.json"
    int8.write_bytes((person.out / "pets.json").read_bytes().replace(b'"fp32"', b'"int8"'))
    assert person.compile(description, "--force")[0] == 0
    assert int8.exists()
    (person.folder / "pets.txt").write_text("lion\ndog\nbird\n")
    assert person.compiled(description).categories[0] == "lion"
    assert not int8.exists()  # it is of what there was before
    assert person.compiled(description + 'samples = "x"').source != source


# --- from elsewhere ------------------------------------------------------------------------------


def test_weights_come_by_gs_and_by_https_with_their_hash(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.save(one_layer())
    data = (person.folder / "pets.pt").read_bytes()
    description = ONE_LAYER + 'labels = "pets.txt"\n'

    class Storage(Quiet):
        def respond(self) -> None:
            known = self.path == "/storage/v1/b/bucket/o/a%2Fpets.pt?alt=media"
            self.answer(200 if known else 404, data)

    with served(Storage) as base:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", base)
        found = person.compiled(description + 'weights = "gs://bucket/a/pets.pt"')
        assert found.categories == LABELS
        status, err = person.compile(description + 'weights = "gs://bucket/b/pets.pt"', "--force")
        assert (status, "gs://bucket/b/pets.pt could not be read (404" in err) == (1, True)
    right, https = hashlib.sha256(data).hexdigest(), "https://127.0.0.1:9/pets.pt"
    kept = person.folder / "checkpoints" / f"{right[:16]}-pets.pt"
    kept.write_bytes(data)  # as a download from https would leave it: no certificate here
    for digest, expected in ((right, 0), ("0" * 64, 1)):
        address = f'weights = "{https}"\nsha256 = "{digest}"'
        status, err = person.compile(description + address, "--force")
        assert status == expected
    assert f"could not be downloaded from {https}" in err


# --- faults --------------------------------------------------------------------------------------


class WholeModule(nn.Module):
    pass


def with_head(name: str) -> dict[str, Tensor]:
    """Return tensors whose last layer has another name."""
    return {key.replace("fc.", name): value for key, value in tensors().items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            tensors("squeezenet1_1"),
            "pets.pt lacks conv1.0.weight, conv1.1.weight, conv1.1.bias and more; "
            "unexpectedly has features.0.weight, features.0.bias, features.3.squeeze.weight and "
            "more: most likely it is of another architecture",
        ),
        (with_head("net.fc."), "most likely a wrapper's prefix, net., on some of the names"),
        (with_head("fc.1."), "unexpectedly has fc.1.weight, fc.1.bias: most likely its last"),
        (WholeModule(), "a whole pickled module (the class "),
        ({"state_dict": tensors(), "model": WholeModule()}, "torch.save(model.state_dict()"),
        (tensors(classes=4), "there are 3 labels, but pets.pt has 4 outputs"),
        (tensors(classes=2), "there are 3 labels, but pets.pt has 2 outputs"),
        ({"fc.bias": torch.tensor([torch.nan])}, "fc.bias holds numbers that are not finite"),
        ({"epoch": 3}, "pets.pt has no state dict"),
        ([1, 2], "pets.pt holds a list, not a state dict"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why_and_leaves_nothing(
    content: object, said: str, person: Person
) -> None:
    person.save(content)
    status, err = person.compile(SHUFFLENET + 'weights = "pets.pt"\nlabels = "pets.txt"')
    assert status == 1
    (line,) = [line for line in err.splitlines() if "loading" not in line]
    assert line.startswith("pets: ")
    assert said in line
    assert [path.name for path in person.out.iterdir()] == ["pets.lock"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('architecture = "resnet8"\nweights = "pets.pt"', "has no classifier 'resnet8'"),
        ('weights = "pets.pt"', "torchvision has no classifier 'pets'"),
        (SHUFFLENET + 'weights = "pets.pt"', "no names of classes"),
        (SHUFFLENET + 'weights = "pets.pt"\nlabels = "no.txt"', "no.txt"),
        (SHUFFLENET + 'weights = "pets.pt"\nlabels = "gap.txt"', "line 2"),
        (SHUFFLENET + 'weights = "no.pt"', "no.pt is not there"),
        (SHUFFLENET + 'weights = "bad.pt"', "bad.pt is damaged, or no file that torch.save wrote"),
        (SHUFFLENET + 'weights = "empty.pt"', "empty.pt is damaged, or no file"),
        (SHUFFLENET + 'weights = "bad.safetensors"', "bad.safetensors cannot be read as safetens"),
        (SHUFFLENET + 'weights = "https://a.invalid/p.pt"', "needs its hash"),
        (SHUFFLENET + 'weights = "ftp://a.invalid/p.pt"', "give a path, https://"),
        (
            f'{SHUFFLENET}weights = "pets.pt"\nsha256 = "{"0" * 64}"',
            "pets.pt has another SHA-256 than sha256 says",
        ),
        (OWN + 'weights = "one.pt"\nlabels = ["a"]', "say interpolation, mean, std"),
        (OWN, "torchvision has no trained weights of one_layer: say weights"),
        (OWN.replace("net.py", "no.py") + 'weights = "pets.pt"', "no.py is no module"),
        (OWN.replace("net.py", "bad.py") + 'weights = "p"', "bad.py failed: ZeroDivisionError"),
        ('onnx = "bad.onnx"\nlabels = ["a"]', "say mean and std that it was trained with"),
        (STATED + 'onnx = "bad.onnx"\nlabels = ["a"]', "bad.onnx cannot be read: it is damaged or"),
    ],
)
def test_a_description_that_cannot_be_used_says_why(text: str, said: str, person: Person) -> None:
    person.save(tensors())
    person.save(one_layer(1), "one.pt")
    files = {"bad.py": "1 / 0", "gap.txt": "cat\n\nbird\n", "empty.pt": ""}
    files |= dict.fromkeys(("bad.pt", "bad.safetensors", "bad.onnx"), "nothing that was trained")
    for name, content in files.items():
        (person.folder / name).write_text(content)
    status, err = person.compile(text)
    assert status == 1
    assert said in err


# --- graphs --------------------------------------------------------------------------------------


def write_onnx(path: Path, shape: str, operators: list[str]) -> None:
    """Write a classifier of three classes: mean of the picture's colours, then operators."""
    axes, batch = "1, 2" if shape.endswith(" 3") else "2, 3", shape.partition(",")[0]
    lines = [f"out0 = ReduceMean <axes = [{axes}], keepdims = 0> (picture)"]
    lines += [f"out{number} = {name} (out{number - 1})" for number, name in enumerate(operators, 1)]
    outputs = f"float[{batch}, 3] out{len(operators)}"
    text = f"classifier (float[{shape}] picture) => ({outputs}) {{ {' '.join(lines)} }}"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}'), path)


@pytest.mark.parametrize(
    ("shape", "operators", "more", "said"),
    [
        ("1, 3, 32, 32", [], "", "takes NCHW of 32 x 32 and gives logits, so softmax follows"),
        ("batch, 3, 32, 32", ["Softmax"], "", "takes NCHW of 32 x 32 and gives probabilities"),
        ("1, 3, h, w", ["Softmax"], "crop = 32\nresize = 40", "takes NCHW of 32 x 32 and gives"),
        ("1, 32, 32, 3", [], "value_range = [-1.0, 1.0]", "takes NHWC of 32 x 32 and gives"),
        ("1, 3, 32, 3", [], 'layout = "NCHW"', "pictures of 32 x 3: say crop"),
        ("1, 3, h, w", [], "", "pictures of ? x ?: say crop"),
        ("1, 3, 32, 32", [], "crop = 64", "one of fixed size takes no other"),
        ("1, 3, 3, 3", [], "", "say its layout, NCHW or NHWC"),
        ("1, 4, 32, 32", [], "", "say its layout, NCHW or NHWC, of which C is 3"),
        ("1, 3, 32, 32", [], 'labels = ["a", "b"]', "there are 2 labels, but pets.onnx has 3"),
        ("1, 3, 32, 32", ["Log", "Log"], "", "not finite"),
        ("1, 3, 32, 32", ["Unheard"], "", "Unheard"),
    ],
)
def test_a_graph_of_onnx_is_served_or_says_why_not(
    shape: str, operators: list[str], more: str, said: str, person: Person
) -> None:
    write_onnx(person.folder / "pets.onnx", shape, operators)
    labels = "" if "labels" in more else COLOURS
    status, err = person.compile(f'onnx = "pets.onnx"\n{labels}{STATED}{more}')
    assert said in err
    assert status == (0 if " and gives" in said else 1)
    if status == 0:
        found = person.probabilities()
        assert found.argmax() == 0  # the cat is ginger
        assert found.sum() == pytest.approx(1, abs=1e-3)


def test_a_graph_of_openvino_is_served(person: Person) -> None:
    write_onnx(person.folder / "pets.onnx", "1, 3, 32, 32", [])
    graph = openvino_engine.openvino.Core().read_model(person.folder / "pets.onnx")
    openvino_engine.openvino.save_model(graph, person.folder / "pets.xml")
    description = f'openvino = "pets.xml"\n{COLOURS}'
    assert person.compiled(description + STATED).categories[0] == "red"
    found = person.probabilities()
    assert found.argmax() == 0
    in_bytes = "value_range = [-255.0, 0.0]\nmean = [-255, -255, -255]\nstd = [51, 51, 51]\n"
    person.compiled(description + in_bytes)  # which is the same, said otherwise
    assert person.probabilities() == pytest.approx(found, abs=1e-6)
