"""The fast lane and the aiohttp that it was proven with."""

from __future__ import annotations

import aiohttp

from authgate.server.http.aiohttp_compat import PROVEN_SOURCE, PROVEN_VERSION, lane_fits, source_digest


def test_the_methods_that_the_lane_relies_on_are_the_proven_ones() -> None:
    """When this fails: read what changed in aiohttp, adapt the lane, run its differential test, name the new digest."""
    assert source_digest() == PROVEN_SOURCE


def test_the_lane_fits_the_locked_aiohttp() -> None:
    """The version that the lock installs is the proven one, so that no source is read at start."""
    assert aiohttp.__version__ == PROVEN_VERSION
    assert lane_fits()


def test_another_version_fits_while_its_methods_read_the_same() -> None:
    """A version alone does not turn the lane off."""
    assert lane_fits("3.14.99")
