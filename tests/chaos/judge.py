"""Decides for each answer whether it is right, from what the scenario knows, and counts what happened."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STATUSES = {200: "allow", 401: "deny", 403: "deny", 503: "unavailable"}
_EXAMPLES = 20
_IDENTITY = "x-auth-request-"


class Outcome(enum.StrEnum):
    """What a request came to."""

    ALLOW = "allow"
    DENY = "deny"
    UNAVAILABLE = "unavailable"
    """A 503 with Retry-After."""
    LOST = "no answer"
    """The connection was refused or ended, or the time was over, without an answer."""
    BROKEN = "broken"
    """An answer that the gate never gives, such as 500, or a denial with identity headers."""


ALLOW = frozenset({Outcome.ALLOW})
DENY = frozenset({Outcome.DENY})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or the reason why no answer arrived. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def outcome(self) -> Outcome:
        """What the answer means."""
        if self.error:
            return Outcome.LOST
        outcome = Outcome(_STATUSES.get(self.status, "broken"))
        if outcome is Outcome.UNAVAILABLE and "retry-after" not in self.headers:
            return Outcome.BROKEN
        if outcome is not Outcome.ALLOW and any(name.startswith(_IDENTITY) for name in self.headers):
            return Outcome.BROKEN
        return outcome

    def __str__(self) -> str:
        reason = self.headers.get("x-auth-reason", "")
        return self.error or f"{self.status} {reason}".rstrip()


class Timeline:
    """Which outcomes are right, and since when."""

    def __init__(self, outcomes: Iterable[Outcome], now: float) -> None:
        self._changes = [(now, frozenset(outcomes))]

    def change(self, outcomes: Iterable[Outcome], now: float) -> None:
        """Expect these outcomes from now on."""
        self._changes.append((now, frozenset(outcomes)))

    def during(self, begin: float, end: float) -> frozenset[Outcome]:
        """Return every outcome that was right at some moment of this time: a request may be decided at any of them."""
        right: frozenset[Outcome] = frozenset()
        until = end
        for since, outcomes in reversed(self._changes):
            if since <= until:
                right |= outcomes
            if since <= begin:
                break
        return right


class Caller:
    """A token, the user that it names, and which answers to it are right.

    With `final_denial`, the first denial is the last word: a deleted pod's token must never pass again.
    """

    def __init__(
        self, name: str, token: str, expected: Iterable[Outcome], now: float, *, user: str | None = None
    ) -> None:
        self.name = name
        self.token = token
        self.user = user
        self.final_denial = False
        self.denied_since: float | None = None
        self.expected = Timeline(expected, now)


class LabelledCounter:
    """Counts answers, right and wrong, and measures the longest time in which no good token passed."""

    def __init__(self, now: float) -> None:
        self.tolerated = Timeline((), now)
        """The outcomes that the fault of the moment explains, for every caller."""
        self.sent = self.wrong = self.unavailable = self.lost = 0
        self.longest = 0.0
        self.examples: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._last_right = now

    def tolerate(self, now: float, *outcomes: Outcome) -> None:
        """Accept these outcomes from now on, besides each caller's own; none ends the tolerance."""
        self.tolerated.change(outcomes, now)

    def record(self, caller: Caller, reply: Reply, begin: float, end: float) -> None:
        """Judge a reply to a request that was sent at `begin` and answered at `end`."""
        outcome = reply.outcome
        self.sent += 1
        self.unavailable += reply.status == 503
        self.lost += outcome is Outcome.LOST
        own = caller.expected.during(begin, end)
        if outcome not in own | self.tolerated.during(begin, end):
            self._wrong(f"{caller.name}: {reply}, expected {' or '.join(sorted(own))}")
        elif outcome is Outcome.ALLOW:
            self._passed(caller, reply, own, end)
        elif outcome is Outcome.DENY and caller.final_denial and caller.denied_since is None:
            caller.denied_since = end
            caller.expected.change(DENY, end)
        if outcome is not Outcome.LOST:
            self.latencies.append(end - begin)

    def fail(self, what: str) -> None:
        """Count something wrong that is not an answer to a caller, such as a probe that failed."""
        self._wrong(what)

    def close(self, now: float) -> None:
        """Take the time since the last right answer into account."""
        self.longest = max(self.longest, now - self._last_right)

    def restart_gap(self, now: float) -> None:
        """Measure the time without a right answer from now on."""
        self._last_right = now

    def _passed(self, caller: Caller, reply: Reply, own: frozenset[Outcome], end: float) -> None:
        user = reply.headers.get("x-auth-request-user")
        if caller.user is not None and user != caller.user:
            self._wrong(f"{caller.name}: passed as {user!r}, expected {caller.user!r}")
        elif own == ALLOW:
            self.close(end)
            self._last_right = max(self._last_right, end)

    def _wrong(self, what: str) -> None:
        self.wrong += 1
        if what in self.examples or len(self.examples) < _EXAMPLES:
            self.examples[what] += 1


def percentile(values: list[float], part: float) -> float:
    """Return the value below which this part of the values lies, 0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
