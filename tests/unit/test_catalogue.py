import pytest

from imgserve.errors import UnknownModel
from imgserve.models import catalogue


def test_unknown_model_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownModel, match=r"'resnet999'.*resnet152, convnext_base"):
        catalogue.entry("resnet999")


def test_catalogue_refuses_a_name_twice() -> None:
    entry = catalogue.entry("vgg16")
    with pytest.raises(ValueError, match="vgg16 is in the catalogue twice"):
        catalogue._by_id([entry, entry])


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
    assert catalogue.choices((), "") == tuple(catalogue.CATALOGUE)
    assert catalogue.choices((), "vgg16")[0] == "vgg16"
