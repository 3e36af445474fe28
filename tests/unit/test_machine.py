"""How many CPUs and how much memory a container may use, in both versions of cgroups."""

import os
from pathlib import Path

import pytest

from imgserve.machine import cpu_quota, memory_bytes, process_bytes

MORE_THAN_ANY_MEMORY = "9223372036854771712"  # what version 1 writes where there is no limit


def write(folder: Path, files: dict[str, str]) -> Path:
    """Return a folder like the kernel's, with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def version_1(quota: str, period: str = "100000") -> dict[str, str]:
    """Return the files in which version 1 says the quota."""
    return {"cpu/cpu.cfs_quota_us": f"{quota}\n", "cpu/cpu.cfs_period_us": f"{period}\n"}


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "1 100000"}, 1),
        (version_1("50000"), 1),
        (version_1("200000"), 2),
        (version_1("20000", "10000"), 2),
    ],
)
def test_threads_follow_the_cpu_quota(
    files: dict[str, str], cpus: int, tmp_path: Path, three_cores: None
) -> None:
    assert cpu_quota(write(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000"},
        {"cpu.max": "99999900000 100000"},
        {"cpu.max": "nonsense"},
        {"cpu.max": ""},
        version_1("-1"),
        version_1("0"),
        version_1("100000", "0"),
        version_1("300000"),
        {"cpu/cpu.cfs_quota_us": "100000"},
    ],
)
def test_without_a_smaller_quota_threads_follow_the_cores(
    files: dict[str, str], tmp_path: Path, three_cores: None
) -> None:
    assert cpu_quota(write(tmp_path, files)) == 3


def test_cores_count_without_an_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert cpu_quota(tmp_path) == 5
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert cpu_quota(tmp_path) == 1


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_memory_is_the_containers(name: str, tmp_path: Path) -> None:
    assert memory_bytes(write(tmp_path, {name: "1048576\n"})) == 1048576


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max"},
        {"memory.max": MORE_THAN_ANY_MEMORY},
        {"memory/memory.limit_in_bytes": MORE_THAN_ANY_MEMORY},
    ],
)
def test_without_a_limit_memory_is_the_machines(files: dict[str, str], tmp_path: Path) -> None:
    assert memory_bytes(write(tmp_path, files)) == memory_bytes(tmp_path / "none") > 1048576


def test_a_process_takes_its_memory_while_it_runs() -> None:
    assert process_bytes(os.getpid()) > 10_000_000
    assert process_bytes(2**22 + 1) == 0  # no system has so many
