"""The configuration of nginx: what is written into it, and what may not be."""

from pathlib import Path

import pytest

from imgserve.errors import InvalidSetting
from v3.gateway import system
from v3.gateway.__main__ import main
from v3.gateway.backends import read_backends
from v3.gateway.nginx import configuration
from v3.gateway.settings import LIST, GatewaySettings
from v3.gateway.system import NginxMissing, find_nginx, system_name_servers

KEY = "0123456789-abcdef"


def made(backends: str, folder: str = "/tmp/gateway", **environ: str) -> str:  # noqa: S108  not written
    """Return the configuration for these backends and this environment."""
    settings = GatewaySettings.from_environ(environ)
    return configuration(settings, read_backends(LIST, backends), Path(folder))


def test_no_name_server_is_needed_where_all_backends_are_addresses() -> None:
    backends = "swin_b=http://127.0.0.1:8001,vgg16=http://localhost:8002,resnet152=http://[::1]:8"
    text = made(backends)
    assert "resolver" not in text
    assert "server 127.0.0.1:8002;" in text
    assert "server [::1]:8;" in text
    assert text.count("keepalive 16;") == 3


def test_names_are_looked_up_by_the_name_servers_that_are_given() -> None:
    text = made("swin_b=http://a.test", RESOLVER="10.0.0.1, 127.0.0.1:5353,[::1]:54,::2")
    assert "resolver 10.0.0.1 127.0.0.1:5353 [::1]:54 [::2];" in text
    assert "upstream swin_b" not in text
    assert "proxy_pass http://a.test:80/model/swin_b/predict$is_args$args;" in text


@pytest.mark.parametrize(
    "value",
    ["a.test", "10.0.0.1;", "10.0.0.1:0", "[::1", "10.0.0.1 valid=1s", "1.2.3", "fe80::1%e"],
)
def test_name_server_that_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(InvalidSetting, match="RESOLVER"):
        made("swin_b=http://a.test", RESOLVER=value)


def test_name_servers_of_the_system_are_read(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 1.1.1.1\nsearch test\nnameserver 10.0.0.1\nnameserver ::1\n"
        "nameserver fe80::1%eth0\nnameserver\nnameserver junk;\noptions ndots:2\n"
    )
    assert system_name_servers(path) == ("10.0.0.1", "[::1]")
    assert system_name_servers(tmp_path / "none") == ()


def test_without_a_name_server_the_start_says_which_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v3.gateway.nginx.system_name_servers", lambda: ())
    with pytest.raises(InvalidSetting, match=r"look up a\.test: set RESOLVER"):
        made("swin_b=http://a.test")


def test_certificates_are_checked_where_a_backend_has_one(tmp_path: Path) -> None:
    assert "proxy_ssl_verify" not in made("swin_b=http://127.0.0.1")
    path = tmp_path / "authorities.pem"
    path.touch()
    text = made("swin_b=https://10.0.0.1", SSL_CERT_FILE=str(path))
    assert "proxy_ssl_verify on;" in text
    assert f'proxy_ssl_trusted_certificate "{path}";' in text
    with pytest.raises(InvalidSetting, match=r"none\.pem: install ca-certificates, or set SSL_"):
        made("swin_b=https://10.0.0.1", SSL_CERT_FILE=str(tmp_path / "none.pem"))


def test_key_is_not_in_the_configuration_and_looks_different_each_time() -> None:
    one, two = (made("swin_b=http://127.0.0.1", API_KEY=KEY) for _ in range(2))
    assert KEY not in one
    assert one != two
    assert one.count("return 401;") == 4  # two paths of the model, other models, the list
    assert "secure_link" not in made("swin_b=http://127.0.0.1")


@pytest.mark.parametrize(
    "key", ["short", "x" * 257, "with a space in it", "line\nbreak-and-more", "é" * 20]
)
def test_key_that_nobody_could_send_is_refused_without_showing_it(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"BACKENDS": "swin_b=http://127.0.0.1", "API_KEY": key}
    assert main(["nginx", "--folder", "/x"], environ) == 2
    said = capsys.readouterr().err
    assert "API_KEY cannot be used" in said
    assert key not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "localhost; }"),
        ("HOST", "a.test"),
        ("PORT", "80; }"),
        ("GOOGLE_CLOUD_PROJECT", "a$project"),
        ("GOOGLE_CLOUD_PROJECT", 'a"b'),
        ("BACKEND_TIMEOUT_S", "1s; }"),
        ("MAX_IMAGE_BYTES", "1; }"),
    ],
)
def test_value_that_could_break_out_of_the_configuration_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        made("swin_b=http://127.0.0.1", **{name: value})


@pytest.mark.parametrize("folder", ['/a"b', "/a$b", "/a;b", "/a\nb", "/a{b", "/a\\b"])
def test_folder_that_nginx_would_misread_is_refused(folder: str) -> None:
    with pytest.raises(InvalidSetting, match="cannot be used"):
        made("swin_b=http://127.0.0.1", folder=folder)


def test_limits_are_those_of_the_contract() -> None:
    text = made("swin_b=http://127.0.0.1", MAX_IMAGE_BYTES="1000", BACKEND_TIMEOUT_S="2.5")
    assert "client_max_body_size 66536;" in text
    assert "proxy_read_timeout 2500ms;" in text
    assert "1000 bytes" in text


def test_without_nginx_the_start_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "PROGRAM_FOLDERS", ())
    with pytest.raises(NginxMissing, match="apt-get install nginx"):
        find_nginx("/nowhere")
    environ = {"BACKENDS": "swin_b=http://127.0.0.1", "PATH": "/nowhere"}
    assert main(["serve"], environ) == 2
    assert "brew install nginx" in capsys.readouterr().err
