"""The stream of decisions: which are recorded, and how many of them."""

from __future__ import annotations

from typing import Literal

import pytest

from authgate.log import AUDIT, Audit
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


def test_a_burst_of_like_decisions_is_cut_and_counted(clock: FakeClock) -> None:
    """Ten lines a second for each policy and reason; the next line tells how many were left out."""
    stream = configured()
    suppressed: list[None] = []
    audit = Audit("deny", clock, lambda: suppressed.append(None))
    for _ in range(25):
        audit.record("default", "token_expired", {})
    for _ in range(3):
        audit.record("default", "denied", {})
        audit.record("other", "token_expired", {})
    assert len(lines(stream)) == 10 + 3 + 3
    assert len(suppressed) == 15

    clock.advance(1)
    audit.record("default", "token_expired", {"n": 1})
    audit.record("default", "token_expired", {"n": 2})
    assert [line["attributes"] for line in lines(stream)[-2:]] == [{"n": 1, "suppressed": 15}, {"n": 2}]


def test_each_second_has_its_own_burst(clock: FakeClock) -> None:
    """Counted in whole seconds."""
    stream = configured()
    audit = Audit("all", clock, lambda: None, burst=2)
    for _ in range(3):
        for _ in range(5):
            audit.record("default", "authenticated", {})
        clock.advance(1)

    assert len(lines(stream)) == 6
