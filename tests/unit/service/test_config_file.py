"""When a configuration file counts as changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authgate.config import ConfigError
from authgate.config.plain import Reading, file_state
from authgate.service import ConfigFile


async def unread() -> Reading:
    """Fail, because these tests read no configuration."""
    raise AssertionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An existing file."""
    file = tmp_path / "authgate.yaml"
    file.write_text("one")
    return file


def test_an_untouched_file_has_not_changed(path: Path) -> None:
    """This holds however often it is checked."""
    file = ConfigFile(path, unread, file_state(path))

    assert [file.changed() for _ in range(3)] == [False] * 3


def test_a_change_is_reported_once_the_file_is_stable(path: Path) -> None:
    """It is reported at the second check, because at the first one the file may still be incomplete."""
    file = ConfigFile(path, unread, file_state(path))
    path.write_text("another")
    assert [file.changed() for _ in range(4)] == [False, True, False, False]


def test_a_file_that_is_still_being_written_is_not_reported(path: Path) -> None:
    """Half of a policy is a different policy."""
    file = ConfigFile(path, unread, file_state(path))
    seen = []
    for length in range(1, 5):
        path.write_text("another"[:length] * 10)
        seen.append(file.changed())
    seen += [file.changed(), file.changed()]

    assert seen == [False] * 4 + [True, False]


def test_a_moved_file_of_the_same_size_and_time_is_a_change(path: Path) -> None:
    """Its inode differs."""
    file = ConfigFile(path, unread, file_state(path))
    before = path.stat()
    other = path.with_name("other")
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)

    assert [file.changed() for _ in range(2)] == [False, True]


def test_a_link_to_another_file_is_a_change(tmp_path: Path) -> None:
    """The kubelet swaps links when a mounted ConfigMap changes."""
    for name in ("..one", "..two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "authgate.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "authgate.yaml").symlink_to("..data/authgate.yaml")
    path = tmp_path / "authgate.yaml"
    file = ConfigFile(path, unread, file_state(path))
    (tmp_path / "..tmp").symlink_to("..two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")

    assert [file.changed() for _ in range(3)] == [False, True, False]


def test_removing_and_restoring_the_file_are_changes(path: Path) -> None:
    """Removing it is reported as an error. Restoring it ends the error."""
    file = ConfigFile(path, unread, file_state(path))
    path.unlink()
    assert [file.changed() for _ in range(2)] == [False, True]
    path.write_text("one")
    assert [file.changed() for _ in range(2)] == [False, True]


async def test_a_file_that_changes_before_it_is_read_is_read_once(path: Path) -> None:
    """The state is that of the reading process, so the same content is not applied twice."""

    async def read() -> Reading:
        path.write_text("another")
        return Reading(path, file_state(path), ())

    file = ConfigFile(path, read, file_state(path))
    with pytest.raises(ConfigError):
        await file.read()
    assert [file.changed() for _ in range(3)] == [False] * 3
