"""The stream of decisions: lines for the first ones of a kind, and a count for those that are too many."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from authgate.observability.log import AUDIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import Clock

INTERVAL: Final = 10.0
"""Seconds over which decisions of a kind are counted together."""
BURST: Final = 100
"""Decisions of a kind that have lines of their own in each interval."""


@dataclass(slots=True)
class _Window:
    began: float
    written: int = 0
    left_out: int = 0


class Audit:
    """Writes decisions: in each interval `burst` lines for each policy and reason, and one line that counts the rest.

    `flush` has to be called every now and then, so that the count is told also where no further decision comes.
    """

    def __init__(
        self,
        mode: Literal["none", "deny", "all"],
        clock: Clock,
        on_suppressed: Callable[[], None],
        burst: int = BURST,
    ) -> None:
        self._mode = mode
        self._clock = clock
        self._on_suppressed = on_suppressed
        self._burst = burst
        self._windows: dict[tuple[str, str], _Window] = {}
        self._logger = logging.getLogger(AUDIT)

    def wants(self, *, allowed: bool) -> bool:
        """Tell whether such a decision is to be recorded at all."""
        return self._mode == "all" or (self._mode == "deny" and not allowed)

    def leaves_out(self, policy: str, reason: str) -> bool:
        """Count one decision of a kind that had its share of lines in this interval; False: it is to be written."""
        window = self._windows.get((policy, reason))
        if window is None or window.written < self._burst:
            return False
        if self._clock.monotonic() - window.began >= INTERVAL:
            return False
        window.left_out += 1
        self._on_suppressed()
        return True

    def record(
        self, policy: str, reason: str, attributes: Mapping[str, object], body: str = "decision"
    ) -> None:
        """Write one decision, or count it where this interval already had its share of the same kind."""
        if self.leaves_out(policy, reason):
            return
        now = self._clock.monotonic()
        kind = (policy, reason)
        window = self._windows.get(kind)
        if window is None or now - window.began >= INTERVAL:
            if window is not None:
                self._summarise(kind, window)
            window = self._windows[kind] = _Window(now)
        window.written += 1
        self._logger.info(body, extra={"attributes": attributes})

    def flush(self, *, everything: bool = False) -> None:
        """Tell how many decisions were left out in the intervals that are over, or with `everything` in all."""
        now = self._clock.monotonic()
        over = [
            kind for kind, window in self._windows.items() if everything or now - window.began >= INTERVAL
        ]
        for kind in over:
            self._summarise(kind, self._windows.pop(kind))

    def _summarise(self, kind: tuple[str, str], window: _Window) -> None:
        if not window.left_out:
            return
        policy, reason = kind
        attributes = {
            "authgate.policy": policy,
            "authgate.reason": reason,
            "suppressed": window.left_out,
        }
        self._logger.info("decisions without a line of their own", extra={"attributes": attributes})
