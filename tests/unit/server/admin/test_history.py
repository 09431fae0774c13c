"""Decisions per minute, from counters that are read now and then."""

from __future__ import annotations

import pytest

from authgate.server.admin.history import DecisionHistory, ReasonHour
from tests.support.clock import FakeClock

ALLOW = ("allow", "authenticated")
DENY = ("deny", "token_expired")


@pytest.fixture
def history(clock: FakeClock) -> DecisionHistory:
    """The history of a gate that starts at the beginning of a minute."""
    clock.advance(60 - clock.monotonic() % 60)
    return DecisionHistory(clock.monotonic)


def test_the_first_counters_are_those_since_the_start(history: DecisionHistory) -> None:
    """They are in the current minute, which is the last one."""
    history.observe({ALLOW: 7.0})
    assert history.last_hour() == (ReasonHour("allow", "authenticated", (*[0] * 59, 7)),)


def test_each_minute_has_what_was_counted_in_it(history: DecisionHistory, clock: FakeClock) -> None:
    """Minutes without an observation have no decisions."""
    for seconds, total in ((10, 1.0), (20, 3.0), (40, 3.0), (60, 8.0), (130, 9.0)):
        clock.advance(seconds)
        history.observe({ALLOW: total})
    [hour] = history.last_hour()
    assert hour.counts[-5:] == (3, 0, 5, 0, 1)
    assert hour.total == 9


def test_reasons_are_sorted_by_their_number(history: DecisionHistory) -> None:
    """Equal numbers are sorted by the name of the reason."""
    history.observe({ALLOW: 2.0, DENY: 5.0, ("deny", "denied"): 2.0})
    assert [hour.reason for hour in history.last_hour()] == ["token_expired", "authenticated", "denied"]


def test_after_an_hour_a_minute_is_forgotten(history: DecisionHistory, clock: FakeClock) -> None:
    """A reason without decisions in the hour is not listed."""
    history.observe({ALLOW: 4.0})
    clock.advance(59 * 60)
    assert history.last_hour()[0].counts == (4, *[0] * 59)
    clock.advance(60)
    assert history.last_hour() == ()
    history.observe({ALLOW: 4.0, DENY: 1.0})
    assert [hour.reason for hour in history.last_hour()] == ["token_expired"]


def test_memory_is_bounded(history: DecisionHistory, clock: FakeClock) -> None:
    """Only 60 minutes are kept."""
    for number in range(1, 200):
        history.observe({ALLOW: float(number)})
        clock.advance(60)
    assert len(vars(history)["_minutes"]) <= 60
