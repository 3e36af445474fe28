"""What `make attack` sees to before it attacks."""

import resource
from collections.abc import Iterator

import pytest

from tools.attack import __main__ as attack
from tools.attack.report import Row


@pytest.fixture
def few_files() -> Iterator[int]:
    """Let this process open few files; return how many it could."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_callers_call_also_where_a_shell_allows_fewer_files(
    few_files: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def attacks(_: object) -> Iterator[Row]:
        may_open, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield Row("callers", "1", "", "", may_open == few_files)

    monkeypatch.setattr(attack, "require_programs", lambda: None)
    monkeypatch.setattr(attack, "ATTACKS", {"callers": ("Callers", attacks)})
    assert attack.run(attack.arguments([])) == 0
    assert "| callers | 1 |  |  | yes |" in capsys.readouterr().out
