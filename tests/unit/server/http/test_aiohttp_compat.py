"""The fast lane and the version of aiohttp that it was tested with."""

from __future__ import annotations

import aiohttp

from authgate.server.http.aiohttp_compat import PROVEN_SOURCE, PROVEN_VERSION, lane_fits, source_digest


def test_the_methods_that_the_lane_depends_on_are_unchanged() -> None:
    """If this fails: read the changes in aiohttp, adapt the lane, run its differential test, and update the digest."""
    assert source_digest() == PROVEN_SOURCE


def test_the_lane_works_with_the_locked_aiohttp() -> None:
    """The lock installs the tested version, so no source is read at startup."""
    assert aiohttp.__version__ == PROVEN_VERSION
    assert lane_fits()


def test_another_version_works_if_its_methods_are_the_same() -> None:
    """A new version number alone does not turn the lane off."""
    assert lane_fits("3.14.99")
