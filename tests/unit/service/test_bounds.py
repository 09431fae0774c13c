"""The configured limits compared with the process's memory and file descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from authgate.config import Config
from authgate.service.limits import memory_limit, memory_needed, warnings_at_start

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
MANY = 1_048_576


def configured(**sections: Any) -> Config:
    """A configuration with these sections."""
    return Config.model_validate({"cluster": {"audiences": ["app"]}, **sections})


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """Return the root of a cgroup file system."""
    return tmp_path / "cgroup"


def put(file: Path, text: str) -> None:
    """Write a file and create its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("files", "membership", "limit"),
    [
        pytest.param({}, "", None, id="no cgroups"),
        pytest.param({"memory.max": "536870912\n"}, "0::/\n", 512 * MIB, id="v2 in a container"),
        pytest.param({"memory.max": "max\n"}, "0::/\n", None, id="v2 without a limit"),
        pytest.param(
            {"system.slice/authgate.service/memory.max": "1048576\n", "system.slice/memory.max": "max\n"},
            "0::/system.slice/authgate.service\n",
            MIB,
            id="v2 of a unit",
        ),
        pytest.param(
            {"a/b/memory.max": "2097152\n", "a/memory.max": "1048576\n"},
            "0::/a/b\n",
            MIB,
            id="v2 of a parent",
        ),
        pytest.param(
            {"memory/memory.limit_in_bytes": "1048576\n"}, "4:memory:/\n0::/\n", MIB, id="v1 in a container"
        ),
        pytest.param(
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/pods/one/memory.limit_in_bytes": "1048576\n",
            },
            "5:cpu,cpuacct:/x\n4:memory:/pods/one\n",
            MIB,
            id="v1 of a pod",
        ),
        pytest.param({"memory.max": "garbage"}, "garbage", None, id="unreadable"),
    ],
)
def test_the_lowest_cgroup_limit_counts(
    cgroups: Path, files: dict[str, str], membership: str, limit: int | None
) -> None:
    """This holds for v1 and v2, and for the process's own cgroup and those above it."""
    for name, text in files.items():
        put(cgroups / name, text)
    put(cgroups.parent / "membership", membership)

    assert memory_limit(cgroups, cgroups.parent / "membership") == limit


def test_the_defaults_fit_into_half_a_gibibyte() -> None:
    """The chart gives a gate this much memory by default."""
    assert memory_needed(configured(), 1, MANY) <= 512 * MIB


@pytest.mark.parametrize(
    ("sections", "processes", "more"),
    [
        pytest.param({"cache": {"maxBytes": 268435456 + MIB}}, 1, MIB, id="cache"),
        pytest.param({"limits": {"maxUnfinishedHeaderBytes": 67108864 + MIB}}, 1, MIB, id="heads"),
        pytest.param({"limits": {"maxConnections": 10_128}}, 1, MIB, id="connections"),
    ],
)
def test_each_limit_counts(sections: dict[str, Any], processes: int, more: int) -> None:
    """Each limit adds its own size."""
    assert (
        memory_needed(configured(**sections), processes, MANY) - memory_needed(configured(), 1, MANY) == more
    )


def test_each_process_needs_its_own() -> None:
    """Workers share no memory for caches and connections. Only one process reads the configuration."""
    one, two, three = (memory_needed(configured(), processes, MANY) for processes in (1, 2, 3))
    assert three - two == two - one > 400 * MIB


def test_enough_memory_and_descriptors_are_not_a_warning() -> None:
    """An unknown limit is not a warning, either."""
    config = configured()
    for memory in (None, memory_needed(config, 1, MANY)):
        assert list(warnings_at_start(config, 1, descriptors=MANY, memory=memory)) == []


def test_too_little_memory_is_a_warning() -> None:
    """The warning has both numbers and the settings to change."""
    (warning,) = warnings_at_start(configured(), 1, descriptors=MANY, memory=256 * MIB)
    assert warning.startswith("the cgroup's memory limit is 256 MiB, but the configured limits allow 494 MiB")
    assert "limits.maxUnfinishedHeaderBytes" in warning


def test_too_few_descriptors_are_a_warning() -> None:
    """The warning has the number of connections that are accepted instead."""
    (warning,) = warnings_at_start(configured(), 1, descriptors=1024, memory=None)
    assert "limits.maxConnections: 10000 is more than 1024 file descriptors allow; 768 connections" in warning
