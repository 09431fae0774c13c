"""When keys are fetched: the cooldown, the back-off with and without keys, and the pause between rechecks."""

from __future__ import annotations

import pytest

from authgate.keys.remote import RefreshRules
from authgate.keys.schedule import FetchSchedule
from tests.support.clock import FakeClock


@pytest.fixture
def schedule(clock: FakeClock) -> FetchSchedule:
    """A schedule without jitter, before the first fetch."""
    return FetchSchedule(clock, RefreshRules(refresh=300, cooldown=5), lambda: 0.0)


def test_the_first_fetch_and_the_first_recheck_are_due_at_once(
    schedule: FetchSchedule, clock: FakeClock
) -> None:
    """There is no wait before them."""
    assert schedule.due_at(usable=False) <= clock.monotonic()
    assert not schedule.cooling_down()
    assert schedule.may_recheck()


def test_the_wait_after_a_failure_depends_on_usable_keys(schedule: FetchSchedule, clock: FakeClock) -> None:
    """After ten failures it is five minutes with the last valid keys, and five seconds without keys."""
    for _ in range(10):
        schedule.failed(clock.monotonic(), 0.0)

    assert schedule.due_at(usable=True) == clock.monotonic() + 300
    assert schedule.due_at(usable=False) == clock.monotonic() + 5


def test_the_next_fetch_is_the_end_of_the_cooldown_or_the_refresh(clock: FakeClock) -> None:
    """The earlier one counts."""
    for refresh, expected in ((300, 5), (2, 2)):
        schedule = FetchSchedule(clock, RefreshRules(refresh=refresh, cooldown=5), lambda: 0.0)
        schedule.succeeded()
        schedule.attempted_at = clock.monotonic()
        assert schedule.next_fetch_in(usable=True) == expected


def test_the_next_recheck_is_possible_after_a_minute(schedule: FetchSchedule, clock: FakeClock) -> None:
    """It is not possible before."""
    schedule.rechecked_at = clock.monotonic()
    clock.advance(59.9)
    assert not schedule.may_recheck()

    clock.advance(0.1)
    assert schedule.may_recheck()
