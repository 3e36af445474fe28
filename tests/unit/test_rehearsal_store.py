"""The documents of the rehearsal's server."""

import threading
from pathlib import Path

import pytest

from tools.rehearsal.store import Document, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_document_is_found_again_by_another_process(store: Store, tmp_path: Path) -> None:
    store.put("builds", "one", {"status": "SUCCESS", "words": "déjà vu"})
    assert Store(tmp_path).get("builds", "one") == {"status": "SUCCESS", "words": "déjà vu"}


def test_what_was_never_put_is_none(store: Store) -> None:
    assert store.get("builds", "one") is None
    assert store.names("builds") == []


def test_names_may_hold_slashes_and_dots(store: Store) -> None:
    names = ["..", "a/b", "projects/p/secrets/s", "x.json"]
    for name in names:
        store.put("things", name, {"name": name})
    assert store.names("things") == names
    assert [store.get("things", name) for name in names] == [{"name": name} for name in names]


def test_delete_says_whether_there_was_one(store: Store) -> None:
    store.put("things", "a", {})
    assert store.delete("things", "a")
    assert not store.delete("things", "a")
    assert store.get("things", "a") is None


def test_update_of_nothing_makes_nothing(store: Store) -> None:
    assert store.update("things", "a", lambda document: document.update(b=1)) is None
    assert store.names("things") == []


def test_no_update_of_many_threads_is_lost(store: Store) -> None:
    store.put("things", "counter", {"value": 0})

    def add(document: Document) -> None:
        document["value"] += 1

    def add_many() -> None:
        for _ in range(25):
            store.update("things", "counter", add)

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("things", "counter") == {"value": 100}


def test_no_draft_is_left_behind(store: Store, tmp_path: Path) -> None:
    store.put("things", "a", {"b": 1})
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["a.json"]
