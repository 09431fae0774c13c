"""What the scenarios of `make chaos` take for a wrong answer."""

from __future__ import annotations

import pytest

from tests.chaos.judge import ALLOW, DENY, Caller, LabelledCounter, Outcome, Reply, Timeline, percentile

GOOD = Reply(200, {"x-auth-request-user": "corp:web"})
BUSY = Reply(503, {"retry-after": "1", "x-auth-reason": "keys_unavailable"})


def good(name: str = "good token") -> Caller:
    """A caller that must pass from the beginning."""
    return Caller(name, "token", ALLOW, 0.0, user="corp:web")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (GOOD, Outcome.ALLOW),
        (Reply(401), Outcome.DENY),
        (Reply(403), Outcome.DENY),
        (BUSY, Outcome.UNAVAILABLE),
        (Reply(503), Outcome.BROKEN),
        (Reply(500), Outcome.BROKEN),
        (Reply(401, {"x-auth-request-user": "corp:web"}), Outcome.BROKEN),
        (Reply(0, error="connection failed"), Outcome.LOST),
    ],
    ids=["200", "401", "403", "503", "503 without Retry-After", "500", "401 with an identity", "no answer"],
)
def test_a_reply_has_one_outcome(reply: Reply, outcome: Outcome) -> None:
    """A 503 without Retry-After and a denial with identity headers are as wrong as a 500."""
    assert reply.outcome is outcome


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [(GOOD, 0), (Reply(401), 1), (Reply(403), 1), (BUSY, 1), (Reply(0, error="reset"), 1)],
    ids=["200", "401", "403", "503", "no answer"],
)
def test_a_good_token_must_pass(reply: Reply, wrong: int) -> None:
    """Without a fault nothing but a 200 is right for it."""
    tally = LabelledCounter(0.0)
    tally.record(good(), reply, 1.0, 1.1)
    assert (tally.sent, tally.wrong) == (1, wrong)


def test_a_bad_token_must_not_pass() -> None:
    """A 200 for it is wrong, whatever else is tolerated."""
    tally = LabelledCounter(0.0)
    tally.tolerate(0.0, Outcome.UNAVAILABLE, Outcome.LOST)
    tally.record(Caller("forged", "token", DENY, 0.0), GOOD, 1.0, 1.1)
    assert tally.wrong == 1


def test_a_token_that_passes_as_another_user_is_wrong() -> None:
    """The identity counts as well as the status."""
    tally = LabelledCounter(0.0)
    tally.record(good(), Reply(200, {"x-auth-request-user": "corp:root"}), 1.0, 1.1)
    assert tally.wrong == 1


@pytest.mark.parametrize(
    ("begin", "end", "wrong"),
    [(0.5, 0.9, 1), (0.5, 1.5, 0), (1.2, 1.5, 0), (1.5, 2.5, 0), (2.1, 2.5, 1)],
    ids=["before", "across its begin", "in it", "across its end", "after"],
)
def test_an_outage_is_tolerated_for_requests_that_met_it(begin: float, end: float, wrong: int) -> None:
    """A request is judged by every moment between its sending and its answer."""
    tally = LabelledCounter(0.0)
    tally.tolerate(1.0, Outcome.UNAVAILABLE)
    tally.tolerate(2.0)
    tally.record(good(), BUSY, begin, end)
    assert tally.wrong == wrong


def test_the_first_denial_of_a_deleted_pod_is_final() -> None:
    """It may pass until the gate has seen the deletion, and never again."""
    tally = LabelledCounter(0.0)
    caller = Caller("pod", "token", {Outcome.ALLOW, Outcome.DENY}, 0.0)
    caller.final_denial = True
    tally.record(caller, Reply(200), 1.0, 1.1)
    tally.record(caller, Reply(401), 2.0, 2.1)
    tally.record(caller, Reply(200), 2.05, 2.2)  # was under way when the denial was answered
    assert tally.wrong == 0
    tally.record(caller, Reply(200), 2.2, 2.3)
    assert tally.wrong == 1


def test_the_longest_gap_is_between_right_answers_to_good_tokens() -> None:
    """Denials of bad tokens do not shorten it, and the time up to the end counts."""
    tally = LabelledCounter(0.0)
    bad = Caller("forged", "token", DENY, 0.0)
    tally.record(good(), GOOD, 1.0, 1.0)
    tally.record(bad, Reply(401), 3.0, 3.0)
    tally.record(good(), GOOD, 5.0, 5.0)
    tally.close(7.0)
    assert tally.longest == 4.0


def test_a_timeline_knows_the_beginning() -> None:
    """What was right before the last change is right for requests that were sent before it."""
    timeline = Timeline(ALLOW, 0.0)
    timeline.change(DENY, 10.0)
    assert timeline.during(1.0, 2.0) == ALLOW
    assert timeline.during(9.0, 10.0) == ALLOW | DENY
    assert timeline.during(11.0, 12.0) == DENY


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], 0.0), ([3.0], 3.0), ([float(n) for n in range(100)], 99.0)],
    ids=["0", "1", "100"],
)
def test_the_99th_percentile_of_values(values: list[float], expected: float) -> None:
    """Few values, or none, have one, too."""
    assert percentile(values, 0.99) == expected
