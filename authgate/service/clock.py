"""Time as the system has it."""

from __future__ import annotations

import time


class SystemClock:
    """The system's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
