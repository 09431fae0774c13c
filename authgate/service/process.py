"""What this process needs from the system: the clock, the garbage collector, and the exit status of orphans."""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from authgate.observability.log import event
from authgate.timestamps import date

if TYPE_CHECKING:
    from collections.abc import Container

_EARLIEST: Final = 1_577_836_800.0
"""The first second of the year 2020, before authgate existed."""
_LATEST: Final = 4_133_980_800.0
"""The first second of the year 2101."""
_GC_THRESHOLDS: Final = (10_000, 10, 100)


class SystemClock:
    """The system's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ClockWatch:
    """Log once when the wall clock leaves the years 2020 to 2100, and once when it returns."""

    def __init__(self) -> None:
        self._plausible = True

    def look(self, now: float) -> None:
        """Check the wall clock, in POSIX seconds."""
        plausible = _EARLIEST <= now < _LATEST
        if plausible == self._plausible:
            return
        self._plausible = plausible
        if plausible:
            event(logging.INFO, "the system clock is plausible again", time=date(now))
            return
        event(
            logging.ERROR,
            "the system clock is wrong: it is outside the years 2020 to 2100. Valid tokens are rejected as expired or "
            "not yet valid, and connections to issuers and API servers may fail; set the clock, for example with NTP",
            time=date(now),
        )


def tune_gc() -> None:
    """Exempt all current objects from garbage collection, and collect less often.

    Call this once, after modules are loaded and before a configuration is composed: what is frozen here is never
    collected, and a reload must free what it replaces. Requests leave no cycles, and caches would only slow it down.
    """
    gc.collect(0)  # the others were searched while modules were loaded (`serve_words`); all would take 15 ms
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def reap_orphans(own: Container[int] = ()) -> None:
    """Collect the exit status of ended orphans, which the kernel gives to process 1; do nothing in other processes.

    Without this, each orphan keeps its entry in the process table. Stop at the first child in `own`, whose status is
    for its owner.
    """
    if os.getpid() != 1:
        return
    while (pid := _ended_child()) is not None and pid not in own:
        os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Return an ended child's process id without collecting its status. The kernel names the same one until then."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid
