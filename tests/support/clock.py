"""Clocks that only tests advance."""

from __future__ import annotations

import asyncio

START = 1_800_000_000.0
"""The start time of every fake clock: 2027-01-15T08:00:00Z."""


class FakeClock:
    """A wall clock and a monotonic one (`authgate.model.Clock`), in seconds; both advance only on request."""

    def __init__(self, now: float = START, monotonic: float = 5_000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        """Return the time of the wall clock, as a POSIX timestamp."""
        return self._now

    def monotonic(self) -> float:
        """Return the time of the monotonic clock."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        if seconds < 0:
            raise ValueError("time passes forwards; set_wall sets the wall clock back")
        self._now += seconds
        self._monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        """Advance both clocks at once, and let other tasks run."""
        self.advance(seconds)
        await asyncio.sleep(0)

    def set_wall(self, now: float) -> None:
        """Set only the wall clock, as an administrator or NTP does."""
        self._now = now
