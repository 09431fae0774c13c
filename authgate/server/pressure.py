"""What the gate turns away because clients take too much: counted each time, logged once a minute at most."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from authgate.observability.log import event

if TYPE_CHECKING:
    from authgate.model import Clock
    from authgate.observability.metrics import Metrics

_EVERY: Final = 60.0


class Pressure:
    """Counts and logs connections that are refused or ended, and seconds without a file descriptor."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def connection_refused(self) -> None:
        """Log that a connection was closed at once; the server that closed it has counted it."""
        self._log(
            "connections are refused: as many are open as are allowed",
            "limits.maxConnections is reached, or what file descriptors allow; see docs/limits.md",
        )

    def head_ended(self) -> None:
        """Count and log that a connection was closed, whose head was the oldest of too many unfinished ones."""
        self._metrics.unfinished_heads_ended += 1
        self._log(
            "connections are closed: unfinished request headers take limits.maxUnfinishedHeaderBytes",
            "find the clients that begin requests and do not end them",
        )

    def descriptors_exhausted(self) -> None:
        """Count and log a second without a file descriptor."""
        self._metrics.descriptors_exhausted += 1
        self._log(
            "no file descriptor is left: connections are refused, and keys may not be fetched",
            "raise the hard limit (LimitNOFILE=, ulimit -Hn), or lower limits.maxConnections",
        )

    def _log(self, message: str, remedy: str) -> None:
        now = self._clock.monotonic()
        if now - self._logged_at.get(message, -math.inf) >= _EVERY:
            self._logged_at[message] = now
            event(logging.WARNING, message, remedy=remedy)
