import pytest

from imgserve.backend.app import WORKER_BOOT_ERROR, settings_or_exit

ONE_OF_MANY = {"has_models": False, "needs_model": True}


@pytest.mark.parametrize("models", ["vgg16,swin_b", "vgg16,pets"])
def test_one_container_of_many_knows_the_models_of_the_others_by_name_alone(models: str) -> None:
    """They may be a person's own, which are in their own images alone."""
    settings = settings_or_exit({"MODEL_NAME": "vgg16", "MODELS": models}, **ONE_OF_MANY)
    assert settings.models == tuple(models.split(","))


@pytest.mark.parametrize(
    ("environ", "service", "said"),
    [
        ({"PORT": "x"}, {}, "PORT='x'"),
        ({"MODEL_NAME": "nope"}, {}, "no model 'nope'"),
        ({"MODELS": "vgg16,nope"}, {}, "no model 'nope'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "vgg16,a-b"}, ONE_OF_MANY, "MODELS has 'a-b'"),
        ({"MODEL_NAME": "vgg16", "MODELS": "swin_b"}, {}, "is none of MODELS"),
        ({}, ONE_OF_MANY, "MODEL_NAME is not set"),
        ({"MODEL_NAME": ""}, ONE_OF_MANY, "MODEL_NAME is not set"),
    ],
)
def test_the_start_is_stopped_with_one_sentence(
    environ: dict[str, str],
    service: dict[str, bool],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_or_exit(environ, **service)
    assert caught.value.code == WORKER_BOOT_ERROR
    message = capsys.readouterr().err
    assert message.startswith("imgserve cannot start: ")
    assert said in message
    assert message.count("\n") == 1
