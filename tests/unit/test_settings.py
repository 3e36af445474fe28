import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from imgserve import machine
from imgserve.backend.app import WORKER_BOOT_ERROR, settings_or_exit
from imgserve.errors import InvalidSetting
from imgserve.settings import BackendSettings, FrontendSettings

backend, frontend = BackendSettings.from_environ, FrontendSettings.from_environ
SERVING_HOST = {"SERVING_HOST": "backend", "SERVING_PORT": "81"}
ID_TOKEN = {"SERVING_AUTH": "id-token"}
B_EXAMPLE = "https://b.example"
LOOPBACK = ("127.0.0.1/32", "::1/128")
# Whole numbers: the least and the largest that are taken.
NUMBERS = {
    "PORT": (1, 65535),
    "SERVING_PORT": (1, 65535),
    "THREADS": (1, 256),
    "MAX_QUEUE": (0, 10_000),
    "MAX_IMAGE_BYTES": (1, None),
    "MAX_IMAGE_PIXELS": (1, None),
}


@pytest.mark.parametrize(
    ("read", "environ", "name", "value"),
    [
        (backend, {}, "listen_port", 8000),
        (backend, {"SERVING_PORT": "81"}, "listen_port", 81),
        (backend, {"SERVING_PORT": "81", "PORT": "82"}, "listen_port", 82),
        (backend, {"MAX_QUEUE": ""}, "max_queue", 64),  # counts as unset
        (backend, {"FETCH_TIMEOUT_S": "0.5"}, "fetch_timeout_s", 0.5),
        (backend, {"FETCH_TIMEOUT_S": "3600"}, "fetch_timeout_s", 3600.0),
        (backend, {"ENGINE": "torch"}, "engine", "torch"),
        (backend, {"CORS_ORIGINS": "https://b.example,"}, "cors_origins", (B_EXAMPLE,)),
        (backend, {"CORS_ORIGINS": "*"}, "cors_origins", ("*",)),
        (backend, {"MODELS": "vgg16,swin_b,vgg16"}, "models", ("vgg16", "swin_b")),
        (backend, {"WEIGHTS_URL_BASE": "https://b.example/"}, "weights_url_base", B_EXAMPLE),
        (backend, {"WEIGHTS_DIR": "~/w"}, "weights_dir", Path.home() / "w"),
        (backend, {"ALLOWED_ADDRESSES": "127.0.0.1, ::1"}, "allowed_addresses", LOOPBACK),
        *(
            (backend, {name: str(number)}, name.lower(), number)
            for name, (least, most) in NUMBERS.items()
            for number in (least, most or 10**9)
        ),
        *(
            (backend, {"PRECISION": precision}, "compiled_precision", files)
            for precision, files in (("fp32", "fp32"), ("bf16", "fp32"), ("int8", "int8"))
        ),
        (backend, {}, "compiled_precision", "fp32"),
        (frontend, {}, "backend_url", "http://127.0.0.1:8000"),
        (frontend, {"SERVING_PORT": "81", "PORT": "82"}, "port", 82),
        (frontend, {"SERVING_PORT": "81", "PORT": "82"}, "backend_url", "http://127.0.0.1:81"),
        (frontend, SERVING_HOST, "backend_url", "http://backend:81"),
        (frontend, {**SERVING_HOST, "SERVING_URL": "https://b.example/"}, "backend_url", B_EXAMPLE),
        *(  # a token may go by https, or stay on this machine
            (frontend, {**ID_TOKEN, "SERVING_URL": url}, "backend_url", url)
            for url in (B_EXAMPLE, "http://127.0.0.1:8000", "http://localhost", "http://[::1]:80")
        ),
    ],
)
def test_an_environment_is_read_as_meant(
    read: Callable[..., object], environ: dict[str, str], name: str, value: object
) -> None:
    assert getattr(read(environ), name) == value


UNUSABLE = [
    *((name, str(least - 1)) for name, (least, _) in NUMBERS.items()),
    *((name, str(most + 1)) for name, (_, most) in NUMBERS.items() if most),
    *(("FETCH_TIMEOUT_S", text) for text in ("0", "-1", "3600.1", "inf", "nan", "soon")),
    *(("ENGINE", "abacus"), ("PRECISION", "int4"), ("LOG_LEVEL", "LOUD")),
    *(("ALLOWED_ADDRESSES", text) for text in ("127.0.0.1/33", "localhost")),
    *(("FETCH_CONTACT", text) for text in ("me (at) b.example", "a@b.example,b", "a\r\nX: y")),
    *(("SSL_CERT_FILE", text) for text in ("/nowhere.pem", "README.md")),
    *(("WEIGHTS_URL_BASE", "ftp://b.example"), ("CORS_ORIGINS", "b.example")),
    *(("MODEL_NAME", "  "), ("MODELS", ","), ("WEIGHTS_DIR", "~no-such-user/weights")),
]
# Others could read a token on its way there.
OPEN_TO_OTHERS = [
    *(("SERVING_URL", url) for url in ("http://b.example", "http://10.0.0.1:8000")),
    *(("SERVING_URL", url) for url in ("http://localhost.b.example", "http://[127.0.0.1")),
    ("API_GATEWAY", "http://b.example"),
]
AUTH = "SERVING_AUTH='id-token'"


@pytest.mark.parametrize(
    ("read", "environ", "said"),
    [
        *((backend, {name: text}, [f"{name}="]) for name, text in UNUSABLE),
        (backend, {"PORT": "0"}, ["PORT='0'", "from 1 to 65535"]),
        (backend, {"MAX_IMAGE_BYTES": "0"}, ["MAX_IMAGE_BYTES='0'", "1 or more"]),
        (frontend, {"SERVING_AUTH": "basic"}, ["SERVING_AUTH='basic'", "one of none, id-token"]),
        *(
            (frontend, {**ID_TOKEN, name: url}, [AUTH, f"{name}={url!r}", "https://"])
            for name, url in OPEN_TO_OTHERS
        ),
        (frontend, {**ID_TOKEN, **SERVING_HOST}, [AUTH, "SERVING_URL='http://backend:81'"]),
        (backend, {"PRECISION": "int8", "ENGINE": "torch"}, ["PRECISION='int8'", "ENGINE='torch'"]),
        (backend, {"COPIES": "3", "THREADS": "2"}, ["COPIES=3", "THREADS=2: each copy needs"]),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_so_is_what_excludes_it(
    read: Callable[..., object], environ: dict[str, str], said: list[str]
) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read(environ)
    assert all(words in str(caught.value) for words in said)


def test_weights_are_cached_where_the_user_keeps_caches_also_without_a_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert machine.default_weights_dir() == Path("/some/cache/imgserve")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert machine.default_weights_dir() == Path.home() / ".cache/imgserve"
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError))
    assert machine.default_weights_dir().name == "imgserve"


# --- CPUs and memory of a container, in both versions of cgroups ------------------------------


MORE_THAN_ANY_MEMORY = "9223372036854771712"  # what version 1 writes where there is no limit


def write(folder: Path, files: dict[str, str]) -> Path:
    """Return a folder like the kernel's, with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def version_1(quota: str, period: str = "100000") -> dict[str, str]:
    """Return the files in which version 1 says the quota."""
    return {"cpu/cpu.cfs_quota_us": f"{quota}\n", "cpu/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "200000 100000\n"}, 2),
        (version_1("20000", "10000"), 2),
        # no quota below the cores
        ({}, 3),
        ({"cpu.max": "max 100000"}, 3),
        ({"cpu.max": "99999900000 100000"}, 3),
        (version_1("-1"), 3),
        (version_1("0"), 3),
        (version_1("100000", "0"), 3),
        ({"cpu/cpu.cfs_quota_us": "100000"}, 3),
    ],
)
def test_threads_follow_the_cpu_quota_else_the_three_cores(
    files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert machine.cpu_quota(write(tmp_path, files)) == cpus


def test_cores_count_without_an_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for cores, cpus in ((5, 5), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert machine.cpu_quota(tmp_path) == cpus


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1048576\n"}, 1048576),
        ({"memory/memory.limit_in_bytes": "1048576\n"}, 1048576),
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": MORE_THAN_ANY_MEMORY}, None),
    ],
)
def test_memory_is_the_containers_else_the_machines(
    files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    machines = machine.memory_bytes(tmp_path / "none")
    assert machines > 1048576
    assert machine.memory_bytes(write(tmp_path, files)) == (limit or machines)


def test_a_process_takes_its_memory_while_it_runs() -> None:
    assert machine.process_bytes(os.getpid()) > 10_000_000
    assert machine.process_bytes(2**22 + 1) == 0  # no system has so many


# --- the start of a backend -------------------------------------------------------------------


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
    environ: dict[str, str], service: dict[str, bool], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_or_exit(environ, **service)
    assert caught.value.code == WORKER_BOOT_ERROR
    message = capsys.readouterr().err
    assert message.startswith("imgserve cannot start: ")
    assert said in message
    assert message.count("\n") == 1
