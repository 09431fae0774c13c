"""Asking the cluster whether somebody may do something: remembered, within a budget, once at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from authgate.cluster.api import AccessAnswer, ApiError, ApiErrorKind
from authgate.errors import Reason
from authgate.model import Pending, Unavailable
from authgate.single_flight import SingleFlight
from authgate.verify.budget import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.cluster.api import AccessAPI, AccessAttributes
    from authgate.model import Clock, Identity

MAX_ENTRIES = 10_000
"""Answers of each kind, yes and no, that are kept for a cluster; about 250 bytes each."""

_MAX_WAIT = 1.0
_Key = bytes


class AccessReviewer:
    """SubjectAccessReview of one cluster; errors are `Unavailable`, never a no, and never remembered.

    A yes and a no have places of their own, so that a flood of refused paths drives out no permission.
    """

    def __init__(
        self,
        api: AccessAPI,
        clock: Clock,
        *,
        qps: float,
        burst: int,
        max_entries: int = MAX_ENTRIES,
        on_review: Callable[[str, float], None] = lambda _result, _seconds: None,
        on_lookup: Callable[[str], None] = lambda _result: None,
        on_eviction: Callable[[], None] = lambda: None,
        on_state: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._bucket = TokenBucket(qps, burst, _MAX_WAIT)
        self._max_entries = max_entries
        self._allowed: OrderedDict[_Key, tuple[AccessAnswer, float]] = OrderedDict()
        self._denied: OrderedDict[_Key, tuple[AccessAnswer, float]] = OrderedDict()
        self._flights: SingleFlight[_Key, AccessAnswer | Unavailable] = SingleFlight()
        self._on_review = on_review
        self._on_lookup = on_lookup
        self._on_eviction = on_eviction
        self._on_state = on_state

    def __len__(self) -> int:
        return len(self._allowed) + len(self._denied)

    def try_review(
        self, identity: Identity, attributes: AccessAttributes, *, allowed_ttl: float, denied_ttl: float
    ) -> AccessAnswer | Pending[AccessAnswer | Unavailable]:
        """Return the remembered answer that is younger than its TTL (in seconds), or what asks for a new one."""
        key = _digest(identity, attributes)
        now = self._clock.monotonic()
        for answers, ttl in ((self._allowed, allowed_ttl), (self._denied, denied_ttl)):
            entry = answers.get(key)
            if entry is not None and now - entry[1] < ttl:
                answers.move_to_end(key)
                self._on_lookup("hit")
                return entry[0]
        self._on_lookup("miss")
        return Pending(lambda: self._flights.do(key, lambda: self._review(key, identity, attributes)))

    async def close(self) -> None:
        """End the reviews under way."""
        await self._flights.close()

    async def _review(
        self, key: _Key, identity: Identity, attributes: AccessAttributes
    ) -> AccessAnswer | Unavailable:
        wait = self._bucket.reserve(self._clock.monotonic(), identity.username)
        if wait is None:
            self._on_review("throttled", 0.0)
            return Unavailable(Reason.ACCESS_REVIEW_THROTTLED)
        if wait:
            await asyncio.sleep(wait)
        started = self._clock.monotonic()
        try:
            answer = await self._api.review_access(identity, attributes)
        except ApiError as error:
            self._on_review(error.kind.value, self._clock.monotonic() - started)
            self._on_state(str(error))
            return _unavailable(error)
        self._on_review("allowed" if answer.allowed else "denied", self._clock.monotonic() - started)
        self._on_state(None)
        self._remember(key, answer, started)
        return answer

    def _remember(self, key: _Key, answer: AccessAnswer, asked_at: float) -> None:
        mine, other = (self._allowed, self._denied) if answer.allowed else (self._denied, self._allowed)
        other.pop(key, None)
        mine[key] = (answer, asked_at)
        mine.move_to_end(key)
        if len(mine) > self._max_entries:
            mine.popitem(last=False)
            self._on_eviction()


class AccessReviewers:
    """The reviewers of all clusters: an identity of a cluster is its own cluster's to judge."""

    def __init__(self, by_cluster: Mapping[str, AccessReviewer]) -> None:
        self._by_cluster = dict(by_cluster)
        self._first = next(iter(self._by_cluster), "")

    def of(self, identity: Identity, otherwise: str | None = None) -> AccessReviewer:
        """Return who is asked about an identity; one of no cluster is for `otherwise`, or for the first, to judge.

        KeyError without such a cluster, which a configuration cannot be.
        """
        return self._by_cluster[identity.cluster or otherwise or self._first]

    @property
    def entries(self) -> int:
        """The number of remembered answers."""
        return sum(map(len, self._by_cluster.values()))

    async def close(self) -> None:
        """End the reviews under way."""
        for reviewer in self._by_cluster.values():
            await reviewer.close()


def _digest(identity: Identity, attributes: AccessAttributes) -> _Key:
    # All that is sent, and nothing else; a repr of strings in tuples reads in one way only. Paths may be long.
    subject = (identity.username, identity.uid, identity.groups, identity.extra)
    return hashlib.sha256(repr((subject, attributes)).encode()).digest()


def _unavailable(error: ApiError) -> Unavailable:
    reason = Reason.ACCESS_REVIEW_UNAVAILABLE
    if error.kind in (ApiErrorKind.FORBIDDEN, ApiErrorKind.UNAUTHORIZED):
        reason = Reason.ACCESS_REVIEW_FORBIDDEN
    return Unavailable(reason, str(error), max(1, error.retry_after))
