from dataclasses import fields
from pathlib import Path

import pytest

from imgserve import machine, settings
from imgserve.errors import InvalidSetting
from imgserve.settings import BackendSettings, FrontendSettings
from tools.documents import markdown_table


def backend(**environ: str) -> BackendSettings:
    return BackendSettings.from_environ(environ)


def frontend(**environ: str) -> FrontendSettings:
    return FrontendSettings.from_environ(environ)


def test_an_empty_environment_has_the_documented_defaults() -> None:
    given, page = backend(), frontend()
    assert min(given.model_memory_mb, given.threads) >= 1
    assert given.max_image_bytes == 10 * 1024 * 1024
    assert given.max_image_pixels == 52_000_000
    assert (given.fetch_timeout_s, given.max_queue) == (10, 64)
    assert (given.cors_origins, given.precision) == ((), "auto")
    assert (given.listen_port, page.port) == (8000, 8501)
    assert page.backend_url == "http://127.0.0.1:8000"
    assert page.api_gateway == "http://127.0.0.1:8080"


def test_port_beats_serving_port_which_for_a_frontend_is_its_backends() -> None:
    assert backend(SERVING_PORT="81").listen_port == 81
    assert backend(SERVING_PORT="81", PORT="82").listen_port == 82
    page = frontend(SERVING_PORT="81", PORT="8080")
    assert (page.port, page.backend_url) == (8080, "http://127.0.0.1:81")


def test_serving_url_beats_host_and_port() -> None:
    host = {"SERVING_HOST": "backend", "SERVING_PORT": "81"}
    assert frontend(**host).backend_url == "http://backend:81"
    assert frontend(**host, SERVING_URL="https://b.example/").backend_url == "https://b.example"


@pytest.mark.parametrize(
    "url", ["https://b.example", "http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"]
)
def test_a_token_may_go_by_https_or_stay_on_this_machine(url: str) -> None:
    assert frontend(SERVING_AUTH="id-token", SERVING_URL=url).serving_auth == "id-token"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SERVING_URL", "http://b.example", "SERVING_URL='http://b.example'"),
        ("SERVING_URL", "http://10.0.0.1:8000", "SERVING_URL='http://10.0.0.1:8000'"),
        ("SERVING_URL", "http://localhost.b.example", "SERVING_URL='http://localhost.b.example'"),
        ("SERVING_URL", "http://[127.0.0.1", "SERVING_URL='http://[127.0.0.1'"),
        ("SERVING_HOST", "backend", "SERVING_URL='http://backend:8000'"),
        ("API_GATEWAY", "http://gateway.example", "API_GATEWAY='http://gateway.example'"),
    ],
)
def test_a_token_never_goes_over_a_network_by_http(name: str, text: str, said: str) -> None:
    assert frontend(**{name: text}).serving_auth == "none"
    with pytest.raises(InvalidSetting, match="SERVING_AUTH='id-token'") as caught:
        frontend(**{name: text}, SERVING_AUTH="id-token")
    assert said in str(caught.value)
    assert "https://" in str(caught.value)


def test_a_way_to_show_who_calls_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"SERVING_AUTH='basic'.*one of none, id-token"):
        frontend(SERVING_AUTH="basic")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("PORT", 1, 65535),
        ("SERVING_PORT", 1, 65535),
        ("THREADS", 1, 256),
        ("MAX_QUEUE", 0, 10000),
        ("MAX_IMAGE_BYTES", 1, None),
        ("MAX_IMAGE_PIXELS", 1, None),
    ],
)
def test_whole_numbers_have_limits(name: str, low: int, high: int | None) -> None:
    limits = f"{low} or more" if high is None else f"from {low} to {high}"
    for number in (low, high or 10**9):
        assert getattr(backend(**{name: str(number)}), name.lower()) == number
    for number in (low - 1, high + 1) if high else (low - 1,):
        with pytest.raises(InvalidSetting, match=f"{name}='{number}'.*{limits}"):
            backend(**{name: str(number)})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("FETCH_TIMEOUT_S", text) for text in ("0", "-1", "3600.1", "inf", "nan", "soon")),
        ("ENGINE", "abacus"),
        ("PRECISION", "int4"),
        ("LOG_LEVEL", "LOUD"),
        ("ALLOWED_ADDRESSES", "127.0.0.1/33"),
        ("ALLOWED_ADDRESSES", "localhost"),
        ("FETCH_CONTACT", "me (at) cats.example"),
        ("FETCH_CONTACT", "a@b.example,c@d.example"),
        ("FETCH_CONTACT", "a\r\nX: y"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("SSL_CERT_FILE", "README.md"),
        ("WEIGHTS_URL_BASE", "ftp://mirror.example"),
        ("MODEL_NAME", "  "),
        ("MODELS", ","),
        ("CORS_ORIGINS", "page.example"),
        ("WEIGHTS_DIR", "~no-such-user/weights"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}="):
        backend(**{name: text})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_QUEUE", "", 64),  # counts as unset
        ("FETCH_TIMEOUT_S", "0.5", 0.5),
        ("FETCH_TIMEOUT_S", "3600", 3600.0),
        ("ENGINE", "openvino", "openvino"),
        ("ENGINE", "torch", "torch"),
        ("ALLOWED_ADDRESSES", "127.0.0.1, ::1", ("127.0.0.1/32", "::1/128")),
        ("CORS_ORIGINS", "https://a.example,", ("https://a.example",)),
        ("CORS_ORIGINS", "*", ("*",)),
        ("MODELS", "vgg16,swin_b,vgg16", ("vgg16", "swin_b")),  # each word once
        ("WEIGHTS_URL_BASE", "https://mirror.example/w/", "https://mirror.example/w"),
        ("WEIGHTS_DIR", "~/w", Path.home() / "w"),
    ],
)
def test_a_value_is_read_as_meant(name: str, text: str, value: object) -> None:
    assert getattr(backend(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("precision", "files"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "fp32"), ("int8", "int8")]
)
def test_a_precision_is_that_of_the_files_or_of_the_cpu(precision: str, files: str) -> None:
    given = backend(PRECISION=precision)
    assert (given.precision, given.compiled_precision) == (precision, files)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PRECISION": "int8", "ENGINE": "torch"}, "PRECISION='int8' .* with ENGINE='torch'"),
        ({"COPIES": "3", "THREADS": "2"}, "COPIES=3 .* THREADS=2: each copy needs a thread"),
    ],
)
def test_values_that_exclude_each_other_are_both_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        backend(**environ)


def test_a_user_without_a_home_has_a_cache_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert machine.default_weights_dir().name == "imgserve"


def test_weights_are_cached_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert machine.default_weights_dir() == Path("/some/cache/imgserve")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert machine.default_weights_dir() == Path.home() / ".cache/imgserve"


@pytest.mark.parametrize("table", [BackendSettings, FrontendSettings])
def test_every_setting_says_what_it_is_for(table: type[settings.Settings]) -> None:
    page = markdown_table(table)
    for each in fields(table):
        assert each.metadata["meaning"]
        assert f"`{each.name.upper()}`" in page
