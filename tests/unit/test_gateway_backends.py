"""The one list of backends: what it takes, and what it says of the rest."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgserve.errors import InvalidSetting
from v3.gateway.__main__ import main
from v3.gateway.backends import Backend, read_backends, read_models
from v3.gateway.settings import LIST

# Nothing that means something to nginx, JSON or a shell.
HARMLESS = re.compile(r"[a-z0-9_.:\[\]-]+")


def listed(text: str) -> tuple[Backend, ...]:
    """Return the backends that a value of BACKENDS names."""
    return read_backends(LIST, text)


def test_variable_is_the_whole_list_in_its_order() -> None:
    vgg16, swin_b = listed(" vgg16 = https://A.example/ ,swin_b=http://127.0.0.1:8001,")
    assert (vgg16.model, vgg16.url, vgg16.authority) == ("vgg16", "https://a.example", "a.example")
    assert (swin_b.url, swin_b.authority) == ("http://127.0.0.1:8001", "127.0.0.1:8001")
    assert (vgg16.is_ip_address, swin_b.is_ip_address) == (False, True)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://a:80", "http://a"),
        ("https://a:443/", "https://a"),
        ("https://a:80", "https://a:80"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://backend_v3:8000", "http://backend_v3:8000"),
    ],
)
def test_usual_ports_are_left_out(url: str, root: str) -> None:
    assert listed(f"swin_b={url}")[0].url == root


def test_file_is_the_list_where_the_variable_is_not_set(tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    path.write_text("[backends]\nvgg16 = 'http://b'\nswin_b = 'http://a'\n")
    assert [each.url for each in read_backends(path, " ")] == ["http://b", "http://a"]
    assert read_models(path) == ("vgg16", "swin_b")


def test_list_of_the_repository_is_deployable_and_without_addresses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models"], {}) == 0
    assert capsys.readouterr().out.split() == list(read_models(LIST))
    assert main(["openapi"], {}) == 2
    said = capsys.readouterr().err
    assert f"the address of {read_models(LIST)[0]}'s backend is not known" in said
    assert "BACKENDS" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("swin_b", "BACKENDS has 'swin_b': each entry is MODEL=URL"),
        ("swim_b=http://a", "there is no model 'swim_b': choose one of resnet152"),
        ("SWIN_B=http://a", "there is no model 'SWIN_B'"),
        ("swin_b=", "the address of swin_b's backend is not known"),
        ("swin_b=http://a,swin_b=http://b", "BACKENDS names swin_b twice"),
        ("swin_b=http://a,vgg16=http://A:80/", "swin_b and vgg16 have one backend, http://a"),
        (",", "there is no backend"),
        ("swin_b=ftp://a", "'ftp://a' cannot be used"),
        ("swin_b=a.example", "'a.example' cannot be used"),
        ("swin_b=https://", "'https://' cannot be used"),
        ("swin_b=https://a/path", "nothing after it"),
        ("swin_b=https://a?x", "nothing after it"),
        ("swin_b=https://user:word@a", "cannot be used"),
        ("swin_b=https://a:0", "cannot be used"),
        ("swin_b=https://a:65536", "cannot be used"),
        ("swin_b=https://a..b", "cannot be used"),
        ("swin_b=https://-a", "cannot be used"),
        ("swin_b=http://[::1::]", "cannot be used"),
        ("swin_b=http://a;}", "cannot be used"),
        ("swin_b=http://a{", "cannot be used"),
        ("swin_b=http://$host", "cannot be used"),
        ("swin_b=http://a\nb", "cannot be used"),
        ("swin_b=http://a b", "cannot be used"),
        ("swin_b=http://ａ", "cannot be used"),
        ("swin_b=http://a:８０", "cannot be used"),
        ('swin_b=http://a"', "cannot be used"),
        ("swin_b; }=http://a", "there is no model"),
    ],
)
def test_entry_that_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        listed(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[backends", "cannot be read"),
        ("[backends]\nswin_b = 'http://a'\nswin_b = 'http://b'", "cannot be read"),
        ("backends = 1", "needs a table"),
        ("[backends]\nswin_b = 1", "needs a table"),
        ("[backends]\nswim_b = ''", "there is no model 'swim_b'"),
        ("", "there is no backend"),
    ],
)
def test_file_that_cannot_be_used_says_why(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "backends.toml"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=re.escape(said)):
        read_backends(path, "")


def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"none\.toml cannot be read"):
        read_backends(tmp_path / "none.toml", "")


@given(st.text() | st.from_regex(r"swin_b=https?://[a-z0-9.\[\]:;{}$\"' \n/-]+", fullmatch=True))
@example("swin_b=http://[1::2]:80")
def test_what_is_taken_holds_nothing_that_configurations_read(text: str) -> None:
    try:
        backends = listed(text)
    except InvalidSetting:
        return
    for each in backends:
        assert HARMLESS.fullmatch(each.host)
        assert HARMLESS.fullmatch(each.authority)
