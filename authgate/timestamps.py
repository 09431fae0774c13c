"""POSIX timestamps as dates, also for timestamps outside the years 1 to 9999."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

EARLIEST: Final = -62_135_596_800.0
"""The first second of the year 1."""
LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999."""


def utc(timestamp: float) -> datetime:
    """Return a POSIX timestamp as a datetime, limited to the years 1 to 9999."""
    return datetime.fromtimestamp(min(max(timestamp, EARLIEST), LATEST), UTC)


@lru_cache(64)
def date(timestamp: float) -> str:
    """Return a POSIX timestamp as a UTC date and time for people (RFC 3339)."""
    return utc(timestamp).isoformat(timespec="seconds").replace("+00:00", "Z")
