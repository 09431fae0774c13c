"""Pauses between retries."""

from __future__ import annotations

import pytest

from authgate.backoff import backoff, jittered


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 0.25), (2, 0.5), (3, 1.0), (5, 4.0), (6, 5.0), (9999, 5.0)]
)
def test_a_pause_doubles_with_each_failure(failures: int, pause: float) -> None:
    """The maximum applies to any number of failures."""
    assert backoff(failures, first=0.25, longest=5.0) == pause


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 10.0), (0.5, 9.0), (1.0, 8.0)])
def test_jitter_only_shortens(draw: float, seconds: float) -> None:
    """It shortens a pause by at most its share."""
    assert jittered(10.0, 0.2, lambda: draw) == pytest.approx(seconds)
