"""Time as the system has it, and a warning where it cannot be right."""

from __future__ import annotations

import logging
import time
from typing import Final

from authgate.observability.log import event
from authgate.timestamps import date

_EARLIEST: Final = 1_577_836_800.0
"""The first second of the year 2020, before authgate existed."""
_LATEST: Final = 4_133_980_800.0
"""The first second of the year 2101."""


class SystemClock:
    """The system's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ClockWatch:
    """Logs once when the wall clock leaves the years 2020 to 2100, and once when it returns."""

    def __init__(self) -> None:
        self._plausible = True

    def look(self, now: float) -> None:
        """Judge the wall clock, in POSIX seconds."""
        plausible = _EARLIEST <= now < _LATEST
        if plausible == self._plausible:
            return
        self._plausible = plausible
        if plausible:
            event(logging.INFO, "the system clock is plausible again", time=date(now))
            return
        event(
            logging.ERROR,
            "the system clock is wrong: it is outside the years 2020 to 2100. Good tokens are refused as expired or "
            "not yet valid, and connections to issuers and API servers may fail; set the clock, for example with NTP",
            time=date(now),
        )
