"""The built-in models, and those that a person describes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgserve.errors import ModelsFileInvalid, UnknownModel
from imgserve.models import catalogue


def test_unknown_model_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownModel, match=r"'resnet999'.*resnet152, convnext_base"):
        catalogue.entry("resnet999")


@pytest.mark.parametrize(
    ("listed", "default", "expected"),
    [
        (("vgg16", "swin_b"), "", ("vgg16", "swin_b")),
        (("vgg16", "swin_b"), "swin_b", ("swin_b", "vgg16")),
    ],
)
def test_choices_begin_with_the_default(
    listed: tuple[str, ...], default: str, expected: tuple[str, ...]
) -> None:
    assert catalogue.choices(listed, default) == expected


def test_without_a_list_all_models_may_be_chosen() -> None:
    assert catalogue.choices((), "") == tuple(catalogue.catalogue(None))
    assert catalogue.choices((), "vgg16")[0] == "vgg16"


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a description of a person's own models."""

    def write(text: str) -> Path:
        path = tmp_path / "models.toml"
        path.write_text(text)
        return path

    return write


def test_own_models_stand_beside_the_built_in_ones(own: Callable[[str], Path]) -> None:
    path = own('[pets]\ntitle = "Pets"\nweights = "a/p.pt"\nlabels = "/p.txt"\n')
    entry = catalogue.entry("pets", path)
    assert (entry.weights, entry.labels) == (str(path.parent / "a/p.pt"), "/p.txt")
    assert catalogue.choices((), "pets", path)[:2] == ("pets", "resnet152")


@pytest.mark.parametrize("address", ["https://a.example/p.pt", "gs://bucket/p.pt"])
def test_an_address_of_weights_stays_as_it_is(address: str, own: Callable[[str], Path]) -> None:
    path = own(f'[pets]\ntitle = "Pets"\nweights = "{address}"\n')
    assert catalogue.entry("pets", path).weights == address


@pytest.mark.parametrize("name", ["a", "p" + 37 * "1", "my_pets2"])
def test_a_name_is_an_identifier_that_fits_a_services_name(
    name: str, own: Callable[[str], Path]
) -> None:
    assert name in catalogue.catalogue(own(f'[{name}]\ntitle = "Pets"\n'))


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
def test_a_description_that_cannot_be_used_says_why(
    text: str, said: str, own: Callable[[str], Path]
) -> None:
    with pytest.raises(ModelsFileInvalid, match=said):
        catalogue.catalogue(own(text))
