"""How many reviews may be sent: a rate, a short queue that is shared fairly, and who belongs to which share."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

_MEASURED: Final = 60.0
"""Seconds over which demand is averaged."""


class TokenBucket:
    """A rate limit of `qps` per second with bursts of `burst`, for callers who may wait up to `max_wait` seconds.

    A key identifies a caller. Of N keys that wait, none holds more than one part in N + 1 of the places, so a key that
    comes later finds one, unless more keys wait than there are places.
    """

    def __init__(self, qps: float, burst: int, max_wait: float) -> None:
        self._qps = qps
        self._interval = 1.0 / qps
        self._capacity = burst * self._interval
        self._max_wait = max_wait
        self._places = int(max_wait * qps)
        self._busy_until = -math.inf  # a monotonic clock may begin at 0
        self._waiting: deque[tuple[float, Hashable]] = deque()
        self._held: Counter[Hashable] = Counter()
        self._demand = 0.0
        self._measured_at = -math.inf

    def reserve(self, now: float, key: Hashable = None) -> float | None:
        """Take a place and return in how many seconds it is due (0 for at once), or None if no place is left."""
        self._demand = self._demand_at(now) + 1.0 / _MEASURED
        self._measured_at = now
        while self._waiting and self._waiting[0][0] <= now:
            self._leave(self._waiting.popleft()[1])
        start = max(self._busy_until, now - self._capacity + self._interval)
        wait = max(0.0, start - now)
        if wait > self._max_wait:
            return None
        if wait:
            others = len(self._held) - (key in self._held)
            if self._held[key] >= max(1, self._places // (others + 2)):
                return None
            self._held[key] += 1
            self._waiting.append((start, key))
        self._busy_until = start + self._interval
        return wait

    def saturation(self, now: float) -> float:
        """Return how many places were asked for in the last minute or so, as a part of those there are (1.0: all)."""
        return self._demand_at(now) / self._qps

    def _demand_at(self, now: float) -> float:
        return self._demand * math.exp((self._measured_at - now) / _MEASURED)

    def _leave(self, key: Hashable) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]


class RecentTokens:
    """Digests of the tokens that were found good lately: at most `most`, each for `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, digest: bytes, now: float) -> None:
        """Remember a token; the one that was found good longest ago makes room."""
        self._until[digest] = now + self._seconds
        self._until.move_to_end(digest)
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def discard(self, digest: bytes) -> None:
        """Forget a token."""
        self._until.pop(digest, None)

    def has(self, digest: bytes, now: float) -> bool:
        """Whether a token was found good lately."""
        return self._until.get(digest, -math.inf) > now


def shape_of(token: str) -> tuple[int, bool, bool, bool, bool]:
    """Return the rough length and the alphabet of a token, which distinguish static tokens from most forged ones."""
    has_lower, has_upper = token != token.upper(), token != token.lower()
    has_digits, has_others = not token.isalpha(), not token.isalnum()
    return len(token).bit_length(), has_lower, has_upper, has_digits, has_others
