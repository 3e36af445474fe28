"""What `make attack` sees to before it attacks."""

import resource
from unittest.mock import Mock

import pytest

from tools.attack import __main__ as attack


def test_a_thousand_callers_call_also_where_a_shell_allows_fewer_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attack, "require_programs", lambda: None)
    monkeypatch.setattr(attack, "ATTACKS", {"none": ("None", lambda _: iter(()))})
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 20_000))
    monkeypatch.setattr("resource.setrlimit", limit := Mock())
    assert attack.run(attack.arguments([])) == 0
    limit.assert_called_once_with(resource.RLIMIT_NOFILE, (20_000, 20_000))
