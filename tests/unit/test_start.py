import pytest

from imgserve.backend.boot import WORKER_BOOT_ERROR, settings_or_exit


def test_usable_settings_are_returned() -> None:
    settings = settings_or_exit({"MODEL_NAME": "vgg16", "MODELS": "vgg16,swin_b"}, "MODEL_NAME")
    assert settings.models == ("vgg16", "swin_b")


def test_one_container_of_many_does_not_know_the_models_of_the_others() -> None:
    """They may be a person's own, which are in their own images alone."""
    settings = settings_or_exit({"MODEL_NAME": "vgg16", "MODELS": "vgg16,pets"}, "MODEL_NAME")
    assert settings.models == ("vgg16", "pets")


@pytest.mark.parametrize(
    ("environ", "required", "said"),
    [
        ({"PORT": "x"}, (), "PORT='x'"),
        ({"MODEL_NAME": "nope"}, (), "no model 'nope'"),
        ({"MODELS": "vgg16,nope"}, (), "no model 'nope'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "vgg16,a-b"}, ("MODEL_NAME",), "MODELS has 'a-b'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "swin_b"}, (), "is none of MODELS"),
        ({}, ("MODEL_NAME",), "MODEL_NAME is not set"),
        ({"MODEL_NAME": ""}, ("MODEL_NAME",), "MODEL_NAME is not set"),
    ],
)
def test_the_start_is_stopped_with_one_sentence(
    environ: dict[str, str],
    required: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_or_exit(environ, *required)
    assert caught.value.code == WORKER_BOOT_ERROR
    message = capsys.readouterr().err
    assert message.startswith("imgserve cannot start: ")
    assert said in message
    assert message.count("\n") == 1
