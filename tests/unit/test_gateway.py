"""The list of backends, nginx's configuration and Google's: what they take, and refuse."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV2SpecValidator

from imgserve.errors import InvalidSetting
from imgserve.models.catalogue import catalogue
from imgserve.settings import BackendSettings, FrontendSettings
from v3.gateway import nginx, serve
from v3.gateway.__main__ import main
from v3.gateway.nginx import configuration
from v3.gateway.settings import LIST, Backend, GatewaySettings, read_backends

# Nothing that means something to nginx, JSON or a shell.
HARMLESS = re.compile(r"[a-z0-9_.:\[\]-]+")
KEY = "0123456789-abcdef"
LOCAL = "swin_b=http://127.0.0.1"


def listed(text: str) -> tuple[Backend, ...]:
    return read_backends(LIST, text)


def made(backends: str = LOCAL, folder: str = "/tmp/gateway", **environ: str) -> str:  # noqa: S108  not written
    return configuration(GatewaySettings.from_environ(environ), listed(backends), Path(folder))


# --- the list of backends ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://A.example/", "https://a.example"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://a:80", "http://a"),
        ("https://a:443/", "https://a"),
        ("https://a:80", "https://a:80"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://backend_v3:8000", "http://backend_v3:8000"),
    ],
)
def test_variable_is_the_list_and_usual_ports_go(url: str, root: str) -> None:
    vgg16, swin_b = listed(f" vgg16 = {url} ,swin_b=http://other,")
    assert (vgg16.model, vgg16.url) == ("vgg16", root)
    assert (swin_b.model, swin_b.url) == ("swin_b", "http://other")


def test_file_is_the_list_where_the_variable_is_not_set(tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    path.write_text("[backends]\nvgg16 = 'http://b'\nswin_b = 'http://a'\n")
    assert [backend.url for backend in read_backends(path, " ")] == ["http://b", "http://a"]


def test_list_of_the_repository_is_deployable_and_without_addresses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = list(tomllib.loads(LIST.read_text())["backends"])
    assert set(models) <= set(catalogue(None))
    assert main(["openapi"], {}) == 2
    said = capsys.readouterr().err
    assert f"the address of {models[0]}'s backend is not known" in said
    assert "BACKENDS" in said


UNUSABLE_URLS = (
    *("ftp://a", "a.example", "https://", "https://user:word@a", "https://a:0", "https://a:65536"),
    *("https://a..b", "https://-a", "http://[::1::]", "http://a;}", "http://a{", "http://$host"),
    *("http://a\nb", "http://a b", "http://ａ", "http://a:８０", 'http://a"', "https://a/path"),
    "https://a?x",
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("swin_b", "BACKENDS has 'swin_b': each entry is MODEL=URL"),
        ("SWIN_B=http://a", "underscores, beginning with a letter, not 'SWIN_B'"),
        ("swin_b; }=http://a", "beginning with a letter, not 'swin_b; }'"),
        ("swin_b=", "the address of swin_b's backend is not known"),
        ("swin_b=http://a,swin_b=http://b", "BACKENDS names swin_b twice"),
        ("swin_b=http://a,vgg16=http://A:80/", "swin_b and vgg16 have one backend, http://a"),
        (",", "there is no backend"),
        *((f"swin_b={url}", f"{url!r} cannot be used: an address is") for url in UNUSABLE_URLS),
    ],
)
def test_entry_that_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        listed(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "backends.toml cannot be read"),
        ("[backends", "cannot be read"),
        ("[backends]\nswin_b = 'http://a'\nswin_b = 'http://b'", "cannot be read"),
        ("backends = 1", "needs a table"),
        ("[backends]\nswin_b = 1", "needs a table"),
        ("[backends]\nswin-b = ''", "beginning with a letter, not 'swin-b'"),
        ("", "there is no backend"),
    ],
)
def test_file_that_cannot_be_used_says_why(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        read_backends(path, "")


@given(st.text() | st.from_regex(r"swin_b=https?://[a-z0-9.\[\]:;{}$\"' \n/-]+", fullmatch=True))
@example("swin_b=http://[1::2]:80")
def test_what_is_taken_holds_nothing_that_configurations_read(text: str) -> None:
    try:
        backends = listed(text)
    except InvalidSetting:
        return
    for backend in backends:
        assert HARMLESS.fullmatch(backend.host)
        assert HARMLESS.fullmatch(backend.authority)


# --- nginx's configuration --------------------------------------------------------------------


def test_no_name_server_is_needed_where_all_backends_are_addresses() -> None:
    backends = "swin_b=http://127.0.0.1:8001,vgg16=http://localhost:8002,resnet152=http://[::1]:8"
    text = made(backends)
    assert "resolver" not in text
    assert "server 127.0.0.1:8002;" in text
    assert "server [::1]:8;" in text


def test_names_are_looked_up_by_the_given_name_servers_else_the_systems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    monkeypatch.setattr(nginx, "RESOLV_CONF", resolv_conf)
    name = "swin_b=http://a.test"
    text = made(name, RESOLVER="10.0.0.1, 127.0.0.1:5353,[::1]:54,::2")
    assert "resolver 10.0.0.1 127.0.0.1:5353 [::1]:54 [::2];" in text
    with pytest.raises(InvalidSetting, match=r"look up a\.test: set RESOLVER"):
        made(name)
    resolv_conf.write_text(
        "# nameserver 1.1.1.1\nsearch test\nnameserver 10.0.0.1\nnameserver ::1\n"
        "nameserver fe80::1%eth0\nnameserver\nnameserver junk;\noptions ndots:2\n"
    )
    assert "resolver 10.0.0.1 [::1];" in made(name)


def test_certificates_are_needed_where_a_backend_has_one(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    assert made(SSL_CERT_FILE=missing)
    with pytest.raises(InvalidSetting, match=r"none\.pem: install ca-certificates, or set SSL_"):
        made("swin_b=https://10.0.0.1", SSL_CERT_FILE=missing)


def test_key_is_not_in_the_configuration_and_looks_different_each_time() -> None:
    one, two = made(API_KEY=KEY), made(API_KEY=KEY)
    assert KEY not in one
    assert one != two


@pytest.mark.parametrize(
    "key", ["short", "x" * 257, "with a space in it", "line\nbreak-and-more", "é" * 20]
)
def test_key_that_nobody_could_send_is_refused_without_showing_it(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nginx", "--folder", "/x"], {"BACKENDS": LOCAL, "API_KEY": key}) == 2
    said = capsys.readouterr().err
    assert "API_KEY cannot be used" in said
    assert key not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOST", value) for value in ("localhost; }", "a.test")),
        *(("GOOGLE_CLOUD_PROJECT", value) for value in ("a$project", 'a"b')),
        *(("PORT", "80; }"), ("BACKEND_TIMEOUT_S", "1s; }"), ("MAX_IMAGE_BYTES", "1; }")),
        *(("RESOLVER", value) for value in ("a.test", "10.0.0.1;", "10.0.0.1:0", "[::1", "1.2.3")),
        *(("RESOLVER", value) for value in ("10.0.0.1 valid=1s", "fe80::1%e")),
    ],
)
def test_value_that_could_break_out_of_the_configuration_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        made(**{name: value})


@pytest.mark.parametrize("folder", ['/a"b', "/a$b", "/a;b", "/a\nb", "/a{b", "/a\\b"])
def test_folder_that_nginx_would_misread_is_refused(folder: str) -> None:
    with pytest.raises(InvalidSetting, match="cannot be used"):
        made(folder=folder)


def test_limits_are_those_that_are_set() -> None:
    text = made(MAX_IMAGE_BYTES="1000", BACKEND_TIMEOUT_S="2.5")
    assert "client_max_body_size 66536;" in text
    assert "proxy_read_timeout 2500ms;" in text
    assert "1000 bytes" in text


# --- Google's API Gateway ---------------------------------------------------------------------

URLS = {
    "efficientnet_lite0": "https://backend-v3-lite0-abc.a.run.app",
    "swin_b": "https://backend-v3-swin-b-abc.a.run.app",
}
GOOGLES_DEFAULT_DEADLINE_S = 15  # esp-v2, src/go/util/util.go


@pytest.mark.parametrize(
    "arguments", [[], ["--private"], ["--api-key"], ["--private", "--api-key"]], ids=" ".join
)
def test_document_of_google_is_valid_and_leads_to_every_backend(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    backends = ",".join(f"{model}={url}" for model, url in URLS.items())
    assert main(["openapi", *arguments], {"BACKENDS": backends}) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["swagger"] == "2.0"
    OpenAPIV2SpecValidator(document).validate()
    if "--api-key" in arguments:
        definition = {"type": "apiKey", "name": "x-api-key", "in": "header"}
        assert document["securityDefinitions"][next(iter(document["security"][0]))] == definition
    else:
        assert "security" not in document
    paths = document["paths"]
    found = {f"{method} {path}": paths[path][method] for path in paths for method in paths[path]}
    expected = {"get /models": URLS["efficientnet_lite0"]}
    for model, url in URLS.items():
        expected |= {f"get /model/{model}": url, f"post /model/{model}/predict": url}
    rules = {key: operation["x-google-backend"] for key, operation in found.items()}
    assert {key: rule["address"] for key, rule in rules.items()} == expected
    assert len({operation["operationId"] for operation in found.values()}) == len(expected)
    assert not any("security" in operation for operation in found.values())
    # Time for a cold start, and a token for the root of those that are private.
    loading_and_fetching_s = BackendSettings.load_wait_s + BackendSettings.fetch_timeout_s
    least_s = GOOGLES_DEFAULT_DEADLINE_S + loading_and_fetching_s
    for rule in rules.values():
        assert rule["path_translation"] == "APPEND_PATH_TO_ADDRESS"
        assert least_s < rule["deadline"] < FrontendSettings.serving_timeout_s
        private = "--private" in arguments
        assert rule.get("jwt_audience") == (rule["address"] if private else None)
        assert rule.get("disable_auth") == (None if private else True)


@pytest.mark.parametrize(
    ("url", "arguments", "said"),
    [
        ("http://127.0.0.1:8000", [], "is this machine, which Google cannot reach"),
        ("http://localhost:8000", [], "is this machine, which Google cannot reach"),
        ("http://a.example", ["--private"], "a token must not travel unencrypted"),
    ],
)
def test_backend_that_google_cannot_use_is_named(
    url: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["openapi", *arguments], {"BACKENDS": f"swin_b={url}"}) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert url in printed.err
    assert printed.out == ""


# --- what the system has ----------------------------------------------------------------------


def test_without_nginx_the_start_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "DEBIAN_FOLDER", "/nowhere")
    assert main(["serve"], {"BACKENDS": LOCAL, "PATH": "/nowhere"}) == 2
    assert "apt-get install nginx (Debian, Ubuntu) or brew install" in capsys.readouterr().err
