from dataclasses import fields
from pathlib import Path

import pytest

from imgserve import machine, settings
from imgserve.errors import InvalidSetting
from imgserve.settings import BackendSettings, FrontendSettings
from tools.documents import markdown_table


def test_an_empty_environment_has_the_documented_defaults() -> None:
    given = BackendSettings.from_environ({})
    assert given.model_memory_mb >= 1
    assert given.max_image_bytes == 10 * 1024 * 1024
    assert given.max_image_pixels == 52_000_000
    assert given.fetch_timeout_s == 10
    assert given.max_queue == 64
    assert given.threads >= 1
    assert given.cors_origins == ()
    assert given.listen_port == 8000
    page = FrontendSettings.from_environ({})
    assert (page.backend_url, page.api_gateway) == (
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8080",
    )


def test_an_empty_variable_counts_as_unset() -> None:
    assert BackendSettings.from_environ({"MAX_QUEUE": ""}).max_queue == 64


def test_port_beats_serving_port() -> None:
    assert BackendSettings.from_environ({"SERVING_PORT": "81"}).listen_port == 81
    assert BackendSettings.from_environ({"SERVING_PORT": "81", "PORT": "82"}).listen_port == 82


def test_serving_url_beats_host_and_port() -> None:
    host = {"SERVING_HOST": "backend", "SERVING_PORT": "81"}
    assert FrontendSettings.from_environ(host).backend_url == "http://backend:81"
    url = {**host, "SERVING_URL": "https://b.example/"}
    assert FrontendSettings.from_environ(url).backend_url == "https://b.example"


def test_a_frontend_listens_on_streamlits_port_unless_told_otherwise() -> None:
    assert FrontendSettings.from_environ({}).port == 8501
    given = FrontendSettings.from_environ({"PORT": "8080", "SERVING_PORT": "81"})
    assert given.port == 8080
    assert given.backend_url == "http://127.0.0.1:81"


@pytest.mark.parametrize(
    "url", ["https://b.example", "http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"]
)
def test_a_token_may_go_by_https_or_stay_on_this_machine(url: str) -> None:
    given = FrontendSettings.from_environ({"SERVING_AUTH": "id-token", "SERVING_URL": url})
    assert given.serving_auth == "id-token"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SERVING_URL", "http://b.example"),
        ("SERVING_URL", "http://10.0.0.1:8000"),
        ("SERVING_URL", "http://localhost.b.example"),
        ("SERVING_URL", "http://[127.0.0.1"),
        ("API_GATEWAY", "http://gateway.example"),
    ],
)
def test_a_token_never_goes_over_a_network_by_http(name: str, text: str) -> None:
    assert FrontendSettings.from_environ({name: text}).serving_auth == "none"
    with pytest.raises(InvalidSetting, match="SERVING_AUTH='id-token'") as caught:
        FrontendSettings.from_environ({name: text, "SERVING_AUTH": "id-token"})
    assert f"{name}={text!r}" in str(caught.value)
    assert "https://" in str(caught.value)


def test_a_host_that_is_not_this_machine_gets_no_token_either() -> None:
    environ = {"SERVING_HOST": "backend", "SERVING_AUTH": "id-token"}
    with pytest.raises(InvalidSetting, match="SERVING_URL='http://backend:8000'"):
        FrontendSettings.from_environ(environ)


def test_a_way_to_show_who_calls_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"SERVING_AUTH='basic'.*one of none, id-token"):
        FrontendSettings.from_environ({"SERVING_AUTH": "basic"})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("PORT", 1, 65535),
        ("SERVING_PORT", 1, 65535),
        ("THREADS", 1, 256),
        ("MAX_QUEUE", 0, 10000),
    ],
)
def test_whole_numbers_have_two_limits(name: str, low: int, high: int) -> None:
    for number in (low, high):
        given = BackendSettings.from_environ({name: str(number)})
        assert getattr(given, name.lower()) == number
    for number in (low - 1, high + 1):
        with pytest.raises(InvalidSetting, match=f"{name}='{number}'.*from {low} to {high}"):
            BackendSettings.from_environ({name: str(number)})


@pytest.mark.parametrize("name", ["MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS"])
def test_sizes_have_a_lower_limit(name: str) -> None:
    assert getattr(BackendSettings.from_environ({name: "1"}), name.lower()) == 1
    with pytest.raises(InvalidSetting, match=f"{name}='0'.*1 or more"):
        BackendSettings.from_environ({name: "0"})


@pytest.mark.parametrize("text", ["0", "-1", "3600.1", "inf", "nan", "soon"])
def test_seconds_are_above_zero_and_finite(text: str) -> None:
    with pytest.raises(InvalidSetting, match="FETCH_TIMEOUT_S"):
        BackendSettings.from_environ({"FETCH_TIMEOUT_S": text})
    for number in ("0.5", "3600"):
        given = BackendSettings.from_environ({"FETCH_TIMEOUT_S": number})
        assert given.fetch_timeout_s == float(number)


@pytest.mark.parametrize(
    ("name", "text"),
    [
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
        BackendSettings.from_environ({name: text})


def test_lists_are_separated_by_commas() -> None:
    given = BackendSettings.from_environ(
        {"ALLOWED_ADDRESSES": "127.0.0.1, 10.0.0.0/8,::1", "CORS_ORIGINS": "https://a.example,"}
    )
    assert given.allowed_addresses == ("127.0.0.1/32", "10.0.0.0/8", "::1/128")
    assert given.cors_origins == ("https://a.example",)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_word_of_the_list_is_taken(engine: str) -> None:
    assert BackendSettings.from_environ({"ENGINE": engine}).engine == engine


@pytest.mark.parametrize(
    ("precision", "files"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "fp32"), ("int8", "int8")]
)
def test_a_precision_is_that_of_the_files_or_of_the_cpu(precision: str, files: str) -> None:
    assert BackendSettings().precision == "auto"
    given = BackendSettings.from_environ({"PRECISION": precision})
    assert (given.precision, given.compiled_precision) == (precision, files)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PRECISION": "int8", "ENGINE": "torch"}, "PRECISION='int8' .* with ENGINE='torch'"),
        ({"COPIES": "3", "THREADS": "2"}, "COPIES=3 .* THREADS=2: each copy needs a thread"),
    ],
)
def test_two_values_that_exclude_each_other_are_both_named(
    environ: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidSetting, match=said):
        BackendSettings.from_environ(environ)


def test_a_mirror_is_kept_without_the_slash_at_its_end() -> None:
    given = BackendSettings.from_environ({"WEIGHTS_URL_BASE": "https://mirror.example/w/"})
    assert given.weights_url_base == "https://mirror.example/w"


def test_a_list_holds_each_word_once() -> None:
    given = BackendSettings.from_environ({"MODELS": "vgg16,swin_b,vgg16", "CORS_ORIGINS": "*"})
    assert given.models == ("vgg16", "swin_b")
    assert given.cors_origins == ("*",)


def test_a_user_without_a_home_has_a_cache_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert machine.default_weights_dir().name == "imgserve"


def test_folders_may_begin_at_home() -> None:
    assert BackendSettings.from_environ({"WEIGHTS_DIR": "~/w"}).weights_dir == Path.home() / "w"


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
