"""The audit log: one line per decision, or one summary line for those beyond a limit per policy and reason."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from authgate.observability.log import AUDIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import Clock

INTERVAL: Final = 10.0
"""Length of an interval in seconds."""
BURST: Final = 100
"""Decisions with the same policy and reason that get a line each, per interval."""
DECISION: Final = "decision"
"""The body of a decision's line."""
SHADOW_DIFFERS: Final = "the shadow decides differently"
"""The body of a line about the shadow of a policy."""


Mode: TypeAlias = Literal["none", "deny", "all"]
"""Which decisions are written."""


@dataclass(frozen=True, slots=True)
class AuditFields:
    """How much the lines show: the path or the matching rule's pattern, and the token's id (`jti`) or its hash."""

    path: Literal["full", "template", "none"] = "full"
    token_id: Literal["hash", "value", "none"] = "hash"


class Trace(Protocol):
    """The span that a line belongs to, in hexadecimal digits."""

    @property
    def trace_id(self) -> str:
        """The id of the trace."""
        ...

    @property
    def span_id(self) -> str:
        """The id of the span."""
        ...


@dataclass(slots=True)
class _Interval:
    began: float
    written: int = 0
    suppressed: int = 0


class Audit:
    """Write decisions: per interval `burst` lines for each policy and reason, and one line that counts the rest.

    Call `flush` every second or so, so that the count is written even if no further decision follows.
    """

    def __init__(
        self,
        mode: Mode,
        clock: Clock,
        on_suppressed: Callable[[], None],
        burst: int = BURST,
        *,
        fields: AuditFields = AuditFields(),
    ) -> None:
        self.use(mode, fields)
        self._clock = clock
        self._on_suppressed = on_suppressed
        self._burst = burst
        self._intervals: dict[tuple[str, str], _Interval] = {}
        self._logger = logging.getLogger(AUDIT)

    def use(self, mode: Mode, fields: AuditFields) -> None:
        """Write other decisions, or other fields, from the next decision on."""
        self._mode = mode
        self.fields = fields

    def wants(self, *, allowed: bool) -> bool:
        """Return whether allowed decisions, or denials, are recorded."""
        return self._mode == "all" or (self._mode == "deny" and not allowed)

    def suppresses(self, policy: str, reason: str) -> bool:
        """Count a decision that gets no line because this interval has its share, or return False."""
        interval = self._intervals.get((policy, reason))
        if interval is None or interval.written < self._burst:
            return False
        if self._clock.monotonic() - interval.began >= INTERVAL:
            return False
        interval.suppressed += 1
        self._on_suppressed()
        return True

    def record(
        self,
        policy: str,
        reason: str,
        attributes: Mapping[str, object],
        body: str = DECISION,
        *,
        trace: Trace | None = None,
    ) -> None:
        """Write one decision, or count it if this interval already has its share of lines."""
        if self.suppresses(policy, reason):
            return
        now = self._clock.monotonic()
        kind = (policy, reason)
        interval = self._intervals.get(kind)
        if interval is None or now - interval.began >= INTERVAL:
            if interval is not None:
                self._summarise(kind, interval)
            interval = self._intervals[kind] = _Interval(now)
        interval.written += 1
        self._logger.info(body, extra={"attributes": attributes, "trace": trace})

    def flush(self, *, everything: bool = False) -> None:
        """Write how many decisions were suppressed in finished intervals, or with `everything` in all."""
        now = self._clock.monotonic()
        finished = [
            kind
            for kind, interval in self._intervals.items()
            if everything or now - interval.began >= INTERVAL
        ]
        for kind in finished:
            self._summarise(kind, self._intervals.pop(kind))

    def _summarise(self, kind: tuple[str, str], interval: _Interval) -> None:
        if not interval.suppressed:
            return
        policy, reason = kind
        attributes = {
            "authgate.policy": policy,
            "authgate.reason": reason,
            "suppressed": interval.suppressed,
        }
        self._logger.info("decisions suppressed: too many with this reason", extra={"attributes": attributes})
