"""The stream of decisions: which are recorded, how many of them, and what is told of the rest."""

from __future__ import annotations

from typing import Literal

import pytest

from authgate.observability.audit import BURST, INTERVAL, Audit
from authgate.observability.log import AUDIT
from tests.support.clock import FakeClock
from tests.support.logs import configured, lines

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.mark.parametrize(
    ("mode", "allowed", "denied"), [("none", False, False), ("deny", False, True), ("all", True, True)]
)
def test_the_audit_has_three_modes(
    mode: Literal["none", "deny", "all"], allowed: bool, denied: bool, clock: FakeClock
) -> None:
    """Nothing, refusals, or every decision."""
    audit = Audit(mode, clock, lambda: None)

    assert (audit.wants(allowed=True), audit.wants(allowed=False)) == (allowed, denied)


def test_a_decision_is_a_line_of_the_audits_own(clock: FakeClock) -> None:
    """At any level of the log: it is a stream of its own."""
    stream = configured("error")
    Audit("deny", clock, lambda: None).record("default", "token_expired", {"user.name": "alice"})
    (line,) = lines(stream)

    assert (line["scope"], line["body"]) == (AUDIT, "decision")
    assert line["attributes"] == {"user.name": "alice"}


def test_a_flood_of_like_decisions_is_cut_and_counted(clock: FakeClock) -> None:
    """However many come, a kind has its burst of lines in an interval; other kinds have theirs."""
    stream = configured()
    suppressed: list[None] = []
    audit = Audit("deny", clock, lambda: suppressed.append(None))
    for _ in range(BURST + 5000):
        audit.record("default", "token_expired", {})
    for _ in range(3):
        audit.record("default", "denied", {})
        audit.record("other", "token_expired", {})

    assert len(lines(stream)) == BURST + 3 + 3
    assert len(suppressed) == 5000


def test_what_was_left_out_is_one_line_when_its_interval_is_over(clock: FakeClock) -> None:
    """Also where no further decision of the kind comes; and not before, nor twice."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None, burst=2)
    for _ in range(7):
        audit.record("default", "token_expired", {})
    clock.advance(INTERVAL - 1)
    audit.flush()
    assert len(lines(stream)) == 2

    clock.advance(1)
    for _ in range(2):
        audit.flush()
    (line,) = lines(stream)[2:]
    assert line["scope"] == AUDIT
    assert line["attributes"] == {
        "authgate.policy": "default",
        "authgate.reason": "token_expired",
        "suppressed": 5,
    }


def test_the_next_decision_after_an_interval_tells_the_count_first(clock: FakeClock) -> None:
    """Then it has a line of its own, as the burst begins anew."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None, burst=2)
    for _ in range(5):
        audit.record("default", "token_expired", {})
    clock.advance(INTERVAL)
    audit.record("default", "token_expired", {"n": 1})

    assert [line["attributes"].get("suppressed") for line in lines(stream)[2:]] == [3, None]
    assert lines(stream)[-1]["attributes"] == {"n": 1}


def test_nothing_left_out_is_nothing_told(clock: FakeClock) -> None:
    """No line without a count."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None)
    audit.record("default", "token_expired", {})
    clock.advance(INTERVAL)
    audit.flush()

    assert len(lines(stream)) == 1


def test_the_end_waits_for_no_interval(clock: FakeClock) -> None:
    """A gate that ends tells all that it counted."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None, burst=1)
    for _ in range(4):
        audit.record("default", "token_expired", {})
    audit.flush(everything=True)

    assert lines(stream)[-1]["attributes"]["suppressed"] == 3


def test_kinds_that_are_over_are_forgotten(clock: FakeClock) -> None:
    """The memory of bursts does not grow with what once was."""
    configured()
    audit = Audit("deny", clock, lambda: None)
    for policy in range(50):
        audit.record(str(policy), "token_expired", {})
    clock.advance(INTERVAL)
    audit.flush()

    assert audit._intervals == {}


def test_what_is_left_out_is_known_before_its_line_is_made(clock: FakeClock) -> None:
    """Under a flood no line is put together that nobody writes; it is counted like any other."""
    stream = configured()
    suppressed: list[None] = []
    audit = Audit("deny", clock, lambda: suppressed.append(None), burst=1)

    assert not audit.suppresses("default", "denied")
    audit.record("default", "denied", {})
    assert audit.suppresses("default", "denied")
    assert not audit.suppresses("other", "denied")
    assert (len(lines(stream)), len(suppressed)) == (1, 1)
    clock.advance(INTERVAL)
    assert not audit.suppresses("default", "denied")
