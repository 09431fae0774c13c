"""The warning about an implausible wall clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from authgate.service.process import ClockWatch
from tests.support.logs import configured, lines

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def test_an_implausible_clock_and_its_correction_are_logged_once() -> None:
    """The years 2020 to 2100 are plausible."""
    log, watch = configured(), ClockWatch()
    for moment in ("2020-01-01", "1971-01-01", "1971-01-02", "2100-12-31", "2101-01-01", "2019-12-31"):
        watch.look(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    logged = [(line["severity_text"], line["attributes"]["time"][:10]) for line in lines(log)]
    assert logged == [("ERROR", "1971-01-01"), ("INFO", "2100-12-31"), ("ERROR", "2101-01-01")]
