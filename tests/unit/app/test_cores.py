"""How many workers `auto` is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authgate.app import usable_cores


@pytest.mark.parametrize(
    ("text", "most"),
    [
        pytest.param("50000 100000", 1, id="half a core"),
        pytest.param("100000 100000", 1, id="one core"),
        pytest.param("9900000 100000", 99, id="more than there are"),
        pytest.param("max 100000", None, id="no quota"),
        pytest.param("", None, id="no such file format"),
    ],
)
def test_a_quota_bounds_the_cores(tmp_path: Path, text: str, most: int | None) -> None:
    """A container on a large machine does not start a worker for each core that it may not use."""
    (tmp_path / "cpu.max").write_text(text)
    there = len(os.sched_getaffinity(0))

    assert usable_cores(tmp_path / "cpu.max") == min(there, most or there)


def test_without_cgroups_the_cores_count(tmp_path: Path) -> None:
    """Those that the process may run on."""
    assert usable_cores(tmp_path / "none") == len(os.sched_getaffinity(0))
