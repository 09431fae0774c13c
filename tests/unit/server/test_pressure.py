"""Refused and closed connections are all counted, and logged at most once a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.observability.metrics import Metrics
from authgate.server.pressure import Pressure
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    import pytest


def test_a_flood_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """One line per kind of problem. The metrics count all."""
    metrics, clock = Metrics(), FakeClock()
    pressure = Pressure(metrics, clock)
    for _ in range(1000):
        pressure.connection_refused()
        pressure.head_ended()
        pressure.unread_body()
        pressure.descriptors_exhausted()
    assert len(caplog.records) == 4
    clock.advance(60.0)
    pressure.connection_refused()
    assert len(caplog.records) == 5
    assert (metrics.unfinished_heads_ended, metrics.descriptors_exhausted) == (1000, 1000)
