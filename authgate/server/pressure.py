"""Log problems that clients cause, each kind at most once a minute, and count them."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from authgate.observability.log import event

if TYPE_CHECKING:
    from authgate.model import Clock
    from authgate.observability.metrics import Metrics

_LOG_INTERVAL: Final = 60.0


class Pressure:
    """Count and log connections that are refused or closed, and seconds without a free file descriptor."""

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

    def unread_body(self) -> None:
        """Log that a request was answered before its announced body arrived, which a proxy's configuration causes."""
        self._log(
            "a request announced a body that had not arrived when it was answered; its connection was closed",
            "send subrequests without a body; in nginx, add both lines to the location that calls authgate: "
            'proxy_pass_request_body off; proxy_set_header Content-Length "";',
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
        if now - self._logged_at.get(message, -math.inf) >= _LOG_INTERVAL:
            self._logged_at[message] = now
            event(logging.WARNING, message, remedy=remedy)
