"""The number of workers for `auto`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authgate.service import usable_cores

THERE = len(os.sched_getaffinity(0))
V2 = "0::/pod/app"
V1 = "4:memory:/pod/app\n3:cpu,cpuacct:/pod/app"


def cores(folder: Path, own: str, files: dict[str, str]) -> int:
    """Return the usable cores for these cgroup files and memberships."""
    root = folder / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (folder / "own").write_text(own)
    return usable_cores(root, folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "most"),
    [
        pytest.param("0::/", {"cpu.max": "50000 100000"}, 1, id="v2, half a core"),
        pytest.param("0::/", {"cpu.max": "9900000 100000"}, None, id="v2, more than exist"),
        pytest.param("0::/", {"cpu.max": "max 100000"}, None, id="v2, no quota"),
        pytest.param("0::/", {"cpu.max": ""}, None, id="v2, malformed"),
        pytest.param("0::/", {"cpu.max": "100000 0"}, None, id="v2, no period"),
        pytest.param(V2, {"pod/app/cpu.max": "100000 100000"}, 1, id="v2, nested"),
        pytest.param(
            V2,
            {"pod/app/cpu.max": "max 100000", "pod/cpu.max": "100000 100000"},
            1,
            id="v2, limit of the parent",
        ),
        pytest.param(V2, {"cpu.max": "100000 100000"}, 1, id="v2, the mount is the cgroup"),
        pytest.param("0::/../other", {"cpu.max": "100000 100000"}, 1, id="v2, outside the namespace"),
        pytest.param(
            V1,
            {
                "cpu,cpuacct/pod/app/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/pod/app/cpu.cfs_period_us": "100000",
            },
            1,
            id="v1, nested",
        ),
        pytest.param(
            V1,
            {
                "cpu/pod/app/cpu.cfs_quota_us": "-1",
                "cpu/pod/app/cpu.cfs_period_us": "100000",
                "cpu/pod/cpu.cfs_quota_us": "20000",
                "cpu/pod/cpu.cfs_period_us": "100000",
            },
            1,
            id="v1, limit of the parent",
        ),
        pytest.param(
            V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, id="v1, no quota"
        ),
    ],
)
def test_a_quota_bounds_the_cores(tmp_path: Path, own: str, files: dict[str, str], most: int | None) -> None:
    """A container on a large machine starts workers only for the cores of its quota."""
    assert cores(tmp_path, own, files) == min(THERE, most or THERE)


def test_without_cgroups_the_cores_count(tmp_path: Path) -> None:
    """The cores that the process may run on count."""
    assert usable_cores(tmp_path / "none", tmp_path / "own") == THERE
