"""The audit log: which decisions are written, how many of them, and how the rest is counted."""

from __future__ import annotations

from typing import Literal

import pytest

from authgate.observability.audit import BURST, INTERVAL, Audit, AuditFields
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
    """No decisions, denials, or all decisions."""
    audit = Audit(mode, clock, lambda: None)

    assert (audit.wants(allowed=True), audit.wants(allowed=False)) == (allowed, denied)


def test_the_mode_can_be_changed(clock: FakeClock) -> None:
    """Lines that were written before count towards the limit."""
    audit = Audit("deny", clock, lambda: None)
    audit.use("all", AuditFields(path="none"))

    assert audit.wants(allowed=True)
    assert audit.fields.path == "none"


def test_the_log_level_does_not_affect_the_audit_log(clock: FakeClock) -> None:
    """Decisions are written at any level."""
    stream = configured("error")
    Audit("deny", clock, lambda: None).record("default", "token_expired", {"user.name": "alice"})
    (line,) = lines(stream)

    assert (line["scope"], line["body"]) == (AUDIT, "decision")
    assert line["attributes"] == {"user.name": "alice"}


def test_a_flood_of_similar_decisions_is_limited_and_counted(clock: FakeClock) -> None:
    """Per interval, each policy and reason has its own number of lines."""
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


def test_suppressed_decisions_are_summarised_once_after_the_interval(clock: FakeClock) -> None:
    """Even if no further decision follows."""
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


def test_the_first_decision_of_an_interval_writes_the_previous_summary_first(clock: FakeClock) -> None:
    """The decision itself gets a line, because a new interval has started."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None, burst=2)
    for _ in range(5):
        audit.record("default", "token_expired", {})
    clock.advance(INTERVAL)
    audit.record("default", "token_expired", {"n": 1})

    assert [line["attributes"].get("suppressed") for line in lines(stream)[2:]] == [3, None]
    assert lines(stream)[-1]["attributes"] == {"n": 1}


def test_without_suppressed_decisions_there_is_no_summary(clock: FakeClock) -> None:
    """A summary always has a count."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None)
    audit.record("default", "token_expired", {})
    clock.advance(INTERVAL)
    audit.flush()

    assert len(lines(stream)) == 1


def test_all_summaries_are_written_at_shutdown(clock: FakeClock) -> None:
    """Without waiting for the end of their intervals."""
    stream = configured()
    audit = Audit("deny", clock, lambda: None, burst=1)
    for _ in range(4):
        audit.record("default", "token_expired", {})
    audit.flush(everything=True)

    assert lines(stream)[-1]["attributes"]["suppressed"] == 3


def test_finished_intervals_are_removed(clock: FakeClock) -> None:
    """Memory does not grow with the number of past policies and reasons."""
    configured()
    audit = Audit("deny", clock, lambda: None)
    for policy in range(50):
        audit.record(str(policy), "token_expired", {})
    clock.advance(INTERVAL)
    audit.flush()

    assert audit._intervals == {}


def test_suppression_is_known_before_a_line_is_built(clock: FakeClock) -> None:
    """In a flood, no time is spent on lines that are not written."""
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
