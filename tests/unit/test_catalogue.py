"""The built-in models, and those that a person describes."""

from pathlib import Path

import pytest

from imgserve.errors import ModelsFileInvalid, UnknownModel
from imgserve.models import catalogue

ALL = tuple(catalogue.catalogue(None))


def test_unknown_model_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownModel, match=r"'resnet999'.*resnet152, convnext_base"):
        catalogue.entry("resnet999")


@pytest.mark.parametrize(
    ("listed", "default", "expected"),
    [
        (("vgg16", "swin_b"), "", ("vgg16", "swin_b")),
        (("vgg16", "swin_b"), "swin_b", ("swin_b", "vgg16")),
        ((), "", ALL),
        ((), "vgg16", ("vgg16", *(name for name in ALL if name != "vgg16"))),
    ],
)
def test_choices_are_those_listed_or_all_and_begin_with_the_default(
    listed: tuple[str, ...], default: str, expected: tuple[str, ...]
) -> None:
    assert catalogue.choices(listed, default) == expected


def own(folder: Path, text: str) -> Path:
    """Return a file that describes a person's own models."""
    path = folder / "models.toml"
    path.write_text(text)
    return path


OWN = """
[pets]
title = "Pets"
module = "a/pets.py"
weights = "gs://bucket/pets.pt"
labels = "/pets.txt"

[cats]
title = "Cats"
weights = "https://a.example/cats.pt"
labels = ["tabby", "tiger cat"]
"""


def test_own_models_stand_beside_the_built_in_ones_and_their_paths_begin_at_the_file(
    tmp_path: Path,
) -> None:
    path = own(tmp_path, OWN)
    assert catalogue.choices((), "cats", path)[:2] == ("cats", "resnet152")
    pets, cats = (catalogue.entry(name, path) for name in ("pets", "cats"))
    assert (pets.module, pets.samples) == (str(tmp_path / "a/pets.py"), "")
    assert (pets.weights, pets.labels) == ("gs://bucket/pets.pt", "/pets.txt")
    assert (cats.weights, cats.labels) == ("https://a.example/cats.pt", ["tabby", "tiger cat"])


@pytest.mark.parametrize("name", ["a", "p" + 37 * "1", "my_pets2"])
def test_a_name_is_an_identifier_that_fits_a_services_name(name: str, tmp_path: Path) -> None:
    assert name in catalogue.catalogue(own(tmp_path, f'[{name}]\ntitle = "Pets"\n'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[vgg16]\ntitle = "Pets"', "the name vgg16 is taken by a built-in model"),
        *(
            (f'["{name}"]\ntitle = "Pets"', f"a model's name has .*, not {name!r}")
            for name in ("My", "a-b", "1a", "a_", "", "é", "p" + 38 * "1")
        ),
        ('[pets]\nwieghts = "p.pt"\ntitle = ""', "unknown field `wieghts`"),
        ('[pets]\nweights = "p.pt"', r"\[pets\]: Object missing required field `title`"),
        ("pets = 1", r"\[pets\]: Expected `object`, got `int`"),
        ('[pets]\ntitle = "P"\ncrop = "224"', r"Expected `int \| null`, got `str`"),
        ('[pets]\ntitle = "P"\nmean = [0.5]', "length 3"),
        ('[pets]\ntitle = "P"\ninterpolation = "cubic"', "Invalid enum value 'cubic'"),
        ('[pets]\ntitle = "P"\nonnx = "a"\nweights = "b"', "pets has weights and onnx"),
        ('[pets]\ntitle = "P"\nonnx = "a"\narchitecture = "b"', "pets has onnx, so it takes no"),
        ("[pets", "cannot be read"),
    ],
)
def test_a_description_that_cannot_be_used_says_why(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelsFileInvalid, match=said):
        catalogue.catalogue(own(tmp_path, text))
