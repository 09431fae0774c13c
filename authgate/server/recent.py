"""The latest decisions in memory, for the page of the admin port. They are kept only if they are configured."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from authgate.model import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@value
class RecentDecision:
    """A decision and its request, without token, query and headers. `at` is a POSIX timestamp.

    Each text is shortened; it is "" if it is unknown, or if `log.auditFields` leaves it out.
    """

    at: float
    decision: str
    reason: str
    policy: str
    rule: int | None = None
    username: str = ""
    issuer: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    client: str = ""
    request_id: str = ""


class RecentDecisions:
    """The last `size` decisions of a process. An older one makes room for each new one."""

    def __init__(self, size: int, earlier: Iterable[RecentDecision] = ()) -> None:
        self._kept = deque(earlier, maxlen=size)

    def add(self, decision: RecentDecision) -> None:
        """Keep a decision."""
        self._kept.append(decision)

    def latest(self) -> tuple[RecentDecision, ...]:
        """Return the kept decisions, oldest first."""
        return tuple(self._kept)


def resized(recent: RecentDecisions | None, size: int) -> RecentDecisions | None:
    """Return the decisions to keep from now on: the latest ones up to another size, or None for size 0."""
    if not size:
        return None
    return RecentDecisions(size, () if recent is None else recent.latest())


def merged(kept: Iterable[Sequence[RecentDecision]], size: int) -> tuple[RecentDecision, ...]:
    """Return the latest decisions of several processes, newest first."""
    every = sorted((made for one in kept for made in reversed(one)), key=lambda decision: -decision.at)
    return tuple(every[:size])
