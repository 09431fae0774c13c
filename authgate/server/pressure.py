"""Connections refused because a limit is reached: each is counted, and one a minute is logged."""

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
    """Count and log refused and closed connections, and seconds without a free file descriptor."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def connection_refused(self) -> None:
        """Log that a connection was closed at once. The server that closed it has counted it."""
        self._log(
            "connections are refused: the limit of open connections is reached",
            "raise limits.maxConnections or the number of file descriptors, whichever is lower; see docs/limits.md",
        )

    def head_ended(self) -> None:
        """Count and log that a connection was closed because its unfinished head was the oldest of too many."""
        self._metrics.unfinished_heads_ended += 1
        self._log(
            "connections are closed: unfinished request headers take limits.maxUnfinishedHeaderBytes",
            "find the clients that start requests and do not complete them",
        )

    def descriptors_exhausted(self) -> None:
        """Count and log a second without a file descriptor."""
        self._metrics.descriptors_exhausted += 1
        self._log(
            "no file descriptor is left: connections are refused, and key fetches may fail",
            "raise the hard limit (LimitNOFILE=, ulimit -Hn), or lower limits.maxConnections",
        )

    def _log(self, message: str, remedy: str) -> None:
        now = self._clock.monotonic()
        if now - self._logged_at.get(message, -math.inf) >= _EVERY:
            self._logged_at[message] = now
            event(logging.WARNING, message, remedy=remedy)
