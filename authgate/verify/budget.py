"""Limits for reviews: a rate with a short, fairly shared queue, and the keys of its shares."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

_MEASURED: Final = 60.0
"""Seconds over which demand is averaged."""
_INVENTED: Final = object()
"""The key whose share all invented keys use."""


class TokenBucket:
    """A rate limit of `qps` per second with bursts of `burst`, for callers that wait up to `max_wait` seconds.

    A key identifies a caller. If N keys wait, each holds at most 1 / (N + 1) of the places. So another key still gets a
    place, unless more keys wait than there are places. Keys that a client can invent share the part of one key, and
    divide it by the same rule.
    """

    def __init__(self, qps: float, burst: int, max_wait: float) -> None:
        self._qps = qps
        self._interval = 1.0 / qps
        self._capacity = burst * self._interval
        self._max_wait = max_wait
        self._places = int(max_wait * qps)
        self._busy_until = -math.inf  # a monotonic clock may start at 0
        self._waiting: deque[tuple[float, Hashable, bool]] = deque()
        self._held: Counter[Hashable] = Counter()
        self._invented: Counter[Hashable] = Counter()
        self._demand = 0.0
        self._measured_at = -math.inf

    def reserve(self, now: float, key: Hashable = None, *, invented: bool = False) -> float | None:
        """Take a place and return the seconds until its turn, or None if no place is left.

        All `invented` keys together have the share of one key.
        """
        self._demand = self._demand_at(now) + 1.0 / _MEASURED
        self._measured_at = now
        while self._waiting and self._waiting[0][0] <= now:
            self._leave(*self._waiting.popleft()[1:])
        start = max(self._busy_until, now - self._capacity + self._interval)
        wait = max(0.0, start - now)
        if wait > self._max_wait:
            return None
        if wait:
            owner = _INVENTED if invented else key
            share = _share(self._held, owner, self._places)
            if self._held[owner] >= share:
                return None
            if invented:
                if self._invented[key] >= _share(self._invented, key, share):
                    return None
                self._invented[key] += 1
            self._held[owner] += 1
            self._waiting.append((start, key, invented))
        self._busy_until = start + self._interval
        return wait

    def saturation(self, now: float) -> float:
        """Return the demand of about the last minute as a share of the rate; 1.0 is all of it."""
        return self._demand_at(now) / self._qps

    def _demand_at(self, now: float) -> float:
        return self._demand * math.exp((self._measured_at - now) / _MEASURED)

    def _leave(self, key: Hashable, invented: bool) -> None:
        _release(self._held, _INVENTED if invented else key)
        if invented:
            _release(self._invented, key)


def _share(held: Counter[Hashable], key: Hashable, places: int) -> int:
    """Return how many places a key may hold beside the other keys that hold some."""
    others = len(held) - (key in held)
    return max(1, places // (others + 2))


def _release(held: Counter[Hashable], key: Hashable) -> None:
    held[key] -= 1
    if not held[key]:
        del held[key]


class RecentTokens:
    """Digests of recently valid tokens: at most `most`, each for `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, digest: bytes, now: float) -> None:
        """Add a token; if there are too many, evict the one that was added first."""
        self._until[digest] = now + self._seconds
        self._until.move_to_end(digest)
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def discard(self, digest: bytes) -> None:
        """Remove a token."""
        self._until.pop(digest, None)

    def has(self, digest: bytes, now: float) -> bool:
        """Return whether a token was valid recently."""
        return self._until.get(digest, -math.inf) > now


def shape_of(token: str) -> tuple[int, bool, bool, bool, bool]:
    """Return the approximate length and the alphabet of a token. They separate static tokens from most forged ones."""
    has_lower, has_upper = token != token.upper(), token != token.lower()
    has_digits, has_others = not token.isalpha(), not token.isalnum()
    return len(token).bit_length(), has_lower, has_upper, has_digits, has_others
