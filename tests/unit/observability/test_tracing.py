"""What is logged if spans cannot be exported."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from authgate.observability.tracing import ExportLog
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    import pytest


def test_a_warning_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """It has the cause, without the values of headers."""
    clock = FakeClock()
    log = ExportLog(("collector-key",), clock.monotonic)
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "refused: %s %s", ("collector-key", "y" * 500), None
    )
    for seconds in (0, 59, 1, 30):
        clock.advance(seconds)
        log.emit(record)

    causes = [vars(found)["attributes"]["error_message"] for found in caplog.records]
    assert causes == [f"refused: … {'y' * 289}"] * 2
