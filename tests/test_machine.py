"""The cores that a process may use: affinity, and the quotas of control groups."""

import math
import os
from pathlib import Path

import pytest

from htrcompress.utils import machine


def quota(tmp_path: Path, membership: str, files: dict[str, str]) -> float:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    (tmp_path / "membership").write_text(membership)
    return machine.cpu_quota(tmp_path / "cgroup", tmp_path / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/pod/app\n", {"pod/cpu.max": "200000 100000\n", "pod/app/cpu.max": "max 100000\n"}, 2),
        ("0::/pod/app\n", {"pod/cpu.max": "400000 100000\n", "pod/app/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/not/seen/from/here\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/../other\n", {"cpu.max": "100000 100000\n"}, 1),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "20000\n"}, 2.5),
        ("4:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:cpuset:/a\n", {"cpuset/a/cpu.cfs_quota_us": "1\n", "cpuset/a/cpu.cfs_period_us": "1\n"}, math.inf),
        ("1:cpu:/\n0::/b\n", {"unified/b/cpu.max": "700000 100000\n"}, 7),
        ("0::/\n", {"cpu.max": "damaged\n"}, math.inf),
    ],
)
def test_the_smallest_quota_above_the_process_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float
) -> None:
    assert quota(tmp_path, membership, files) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path, tmp_path / "missing") == math.inf


@pytest.mark.parametrize(
    ("allowed", "granted", "expected"), [(64, 2, 2), (64, 1.5, 2), (4, math.inf, 4), (4, 8, 4), (64, 0.1, 1)]
)
def test_cores_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, allowed: int, granted: float, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(allowed)), raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: granted)
    assert machine.cores() == expected
