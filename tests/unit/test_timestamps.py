"""Dates of a clock that is far out of range: the nearest date of the calendar, never an error."""

from __future__ import annotations

import math

import pytest

from authgate.timestamps import date


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_800_000_000.9, "2027-01-15T08:00:00Z"),
        (-1e12, "0001-01-01T00:00:00Z"),
        (1e18, "9999-12-31T23:59:59Z"),
        (math.inf, "9999-12-31T23:59:59Z"),
        (-math.inf, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_date_is_within_the_calendar(timestamp: float, shown: str) -> None:
    """A claim or a clock can contain any number."""
    assert date(timestamp) == shown
