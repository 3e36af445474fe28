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


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "1 100000"}, 1),
        (version_1("50000"), 1),
        (version_1("200000"), 2),
        (version_1("20000", "10000"), 2),
        # no quota below the cores
        ({}, 3),
        ({"cpu.max": "max 100000"}, 3),
        ({"cpu.max": "99999900000 100000"}, 3),
        ({"cpu.max": "nonsense"}, 3),
        ({"cpu.max": ""}, 3),
        (version_1("-1"), 3),
        (version_1("0"), 3),
        (version_1("100000", "0"), 3),
        (version_1("300000"), 3),
        ({"cpu/cpu.cfs_quota_us": "100000"}, 3),
    ],
)
def test_threads_follow_the_cpu_quota_else_the_three_cores(
    files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert cpu_quota(write(tmp_path, files)) == cpus


def test_cores_count_without_an_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for cores, cpus in ((5, 5), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert cpu_quota(tmp_path) == cpus


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1048576\n"}, 1048576),
        ({"memory/memory.limit_in_bytes": "1048576\n"}, 1048576),
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory.max": MORE_THAN_ANY_MEMORY}, None),
        ({"memory/memory.limit_in_bytes": MORE_THAN_ANY_MEMORY}, None),
    ],
)
def test_memory_is_the_containers_else_the_machines(
    files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    machines = memory_bytes(tmp_path / "none")
    assert machines > 1048576
    assert memory_bytes(write(tmp_path, files)) == (limit or machines)


def test_a_process_takes_its_memory_while_it_runs() -> None:
    assert process_bytes(os.getpid()) > 10_000_000
    assert process_bytes(2**22 + 1) == 0  # no system has so many
