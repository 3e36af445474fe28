"""Where the gateway lets nginx write."""

from pathlib import Path
from typing import NoReturn

import pytest

from v3.gateway import serve


def test_on_a_read_only_disk_nginx_writes_to_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder() -> NoReturn:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", no_folder)
    with serve.temporary_folder() as folder:
        assert Path(folder).parent == Path(serve.SHARED_MEMORY)
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_elsewhere_nginx_writes_to_the_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serve.temporary_folder() as folder:
        assert Path(folder).parent == tmp_path
