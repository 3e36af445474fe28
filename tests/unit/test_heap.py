"""What glibc's heap is told, and what happens where there is no glibc."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from imgserve.models import malloc as heap


@pytest.fixture
def no_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())


@pytest.mark.usefixtures("no_trim")
def test_a_system_without_malloc_trim_is_no_error() -> None:
    heap.give_memory_back()


def test_other_systems_need_no_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    heap.give_memory_back()


@pytest.mark.parametrize("library", ["glibc", "musl"])
def test_threads_share_one_heap_where_the_c_library_can_be_told(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    told: list[tuple[int, int]] = []
    offers = {"mallopt": lambda *option: told.append(option)} if library == "glibc" else {}
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(**offers))
    heap.share_one_heap()
    assert told == ([(-8, 1)] if library == "glibc" else [])
