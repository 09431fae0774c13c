"""Decide for each answer whether it is correct according to the scenario, and count the results."""

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
    """The result of a request."""

    ALLOW = "allow"
    DENY = "deny"
    UNAVAILABLE = "unavailable"
    """A 503 with Retry-After."""
    LOST = "no answer"
    """The connection was refused or closed, or the request timed out."""
    BROKEN = "broken"
    """An answer that authgate never gives, such as 500, or a denial with identity headers."""


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
        """The kind of the answer."""
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
    """The expected outcomes, and since when."""

    def __init__(self, outcomes: Iterable[Outcome], now: float) -> None:
        self._changes = [(now, frozenset(outcomes))]

    def change(self, outcomes: Iterable[Outcome], now: float) -> None:
        """Expect these outcomes from now on."""
        self._changes.append((now, frozenset(outcomes)))

    def during(self, begin: float, end: float) -> frozenset[Outcome]:
        """Return every outcome that was expected in this period. A request can be decided at any time in it."""
        right: frozenset[Outcome] = frozenset()
        until = end
        for since, outcomes in reversed(self._changes):
            if since <= until:
                right |= outcomes
            if since <= begin:
                break
        return right


class Caller:
    """A token, its user, and the expected answers.

    With `final_denial`, no request may be allowed after the first denial: this is the token of a deleted pod.
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
    """Counts expected and wrong answers, and measures the longest time without an allowed valid token."""

    def __init__(self, now: float) -> None:
        self.tolerated = Timeline((), now)
        """The outcomes that the current fault explains, for every caller."""
        self.sent = self.wrong = self.unavailable = self.lost = 0
        self.longest = 0.0
        self.examples: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._last_right = now

    def tolerate(self, now: float, *outcomes: Outcome) -> None:
        """Accept these outcomes for every caller from now on; without outcomes, accept none."""
        self.tolerated.change(outcomes, now)

    def record(self, caller: Caller, reply: Reply, begin: float, end: float) -> None:
        """Check the reply to a request that was sent at `begin` and answered at `end`."""
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
        """Count an error that is not an answer to a caller, such as a probe that failed."""
        self._wrong(what)

    def close(self, now: float) -> None:
        """Include the time since the last expected answer."""
        self.longest = max(self.longest, now - self._last_right)

    def restart_gap(self, now: float) -> None:
        """Measure the time without an expected answer from now on."""
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
    """Return the value below which this fraction of the values is; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
