import pytest

from imgserve.backend.boot import WORKER_BOOT_ERROR, settings_or_exit


def test_usable_settings_are_returned() -> None:
    settings = settings_or_exit(
        {"MODEL_NAME": "vgg16", "MODELS": "vgg16,swin_b"}, has_models=False, needs_model=True
    )
    assert settings.models == ("vgg16", "swin_b")


def test_one_container_of_many_does_not_know_the_models_of_the_others() -> None:
    """They may be a person's own, which are in their own images alone."""
    settings = settings_or_exit(
        {"MODEL_NAME": "vgg16", "MODELS": "vgg16,pets"}, has_models=False, needs_model=True
    )
    assert settings.models == ("vgg16", "pets")


@pytest.mark.parametrize(
    ("environ", "is_one_of_many", "said"),
    [
        ({"PORT": "x"}, False, "PORT='x'"),
        ({"MODEL_NAME": "nope"}, False, "no model 'nope'"),
        ({"MODELS": "vgg16,nope"}, False, "no model 'nope'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "vgg16,a-b"}, True, "MODELS has 'a-b'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "swin_b"}, False, "is none of MODELS"),
        ({}, True, "MODEL_NAME is not set"),
        ({"MODEL_NAME": ""}, True, "MODEL_NAME is not set"),
    ],
)
def test_the_start_is_stopped_with_one_sentence(
    environ: dict[str, str],
    is_one_of_many: bool,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_or_exit(environ, has_models=not is_one_of_many, needs_model=is_one_of_many)
    assert caught.value.code == WORKER_BOOT_ERROR
    message = capsys.readouterr().err
    assert message.startswith("imgserve cannot start: ")
    assert said in message
    assert message.count("\n") == 1
