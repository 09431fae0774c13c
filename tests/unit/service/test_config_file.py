"""When a configuration file counts as changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authgate.config import LoadedConfig
from authgate.service import ConfigFile


def unread() -> LoadedConfig:
    """Nothing is read here."""
    raise AssertionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file."""
    file = tmp_path / "authgate.yaml"
    file.write_text("one")
    return file


def test_a_file_that_stays_has_not_changed(path: Path) -> None:
    """However often one looks."""
    file = ConfigFile(path, unread)

    assert [file.changed() for _ in range(3)] == [False] * 3


def test_a_file_has_changed_once_it_stays_as_it_is(path: Path) -> None:
    """At the second look: at the first somebody may still be writing it."""
    file = ConfigFile(path, unread)
    path.write_text("another")
    assert [file.changed() for _ in range(4)] == [False, True, False, False]


def test_a_file_that_is_still_written_has_not_changed_yet(path: Path) -> None:
    """Half of a policy is another policy."""
    file = ConfigFile(path, unread)
    seen = []
    for length in range(1, 5):
        path.write_text("another"[:length] * 10)
        seen.append(file.changed())
    seen += [file.changed(), file.changed()]

    assert seen == [False] * 4 + [True, False]


def test_a_file_of_the_same_size_and_age_is_another_one(path: Path) -> None:
    """One that was moved into its place."""
    file = ConfigFile(path, unread)
    before = path.stat()
    other = path.with_name("other")
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)

    assert [file.changed() for _ in range(2)] == [False, True]


def test_a_link_that_leads_elsewhere_is_another_file(tmp_path: Path) -> None:
    """As the kubelet swaps the folders of a mounted ConfigMap."""
    for name in ("..one", "..two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "authgate.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "authgate.yaml").symlink_to("..data/authgate.yaml")
    file = ConfigFile(tmp_path / "authgate.yaml", unread)
    (tmp_path / "..tmp").symlink_to("..two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")

    assert [file.changed() for _ in range(3)] == [False, True, False]


def test_a_file_that_goes_away_is_a_change_and_so_is_its_return(path: Path) -> None:
    """The first is an error that is told, the second its end."""
    file = ConfigFile(path, unread)
    path.unlink()
    assert [file.changed() for _ in range(2)] == [False, True]
    path.write_text("one")
    assert [file.changed() for _ in range(2)] == [False, True]
