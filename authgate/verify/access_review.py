"""SubjectAccessReview: asking the cluster whether an identity may do something, and caching the answers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.model import Pending
from authgate.verify.budget import TokenBucket
from authgate.verify.review import MAX_WAIT, Outage, ReviewSender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.cluster.api import AccessAnswer, AccessAPI, AccessAttributes
    from authgate.model import Clock, Identity, Unavailable

MAX_ENTRIES = 10_000
"""Allowed and denied answers, of each as many, that are cached for a cluster; about 250 bytes each."""

_OUTAGE = Outage(
    Reason.ACCESS_REVIEW_UNAVAILABLE, Reason.ACCESS_REVIEW_FORBIDDEN, Reason.ACCESS_REVIEW_THROTTLED
)


class AccessReviewer:
    """Sends SubjectAccessReviews to one cluster. Errors are `Unavailable`, never a denial, and never cached.

    Allowed and denied answers are cached separately, so that a flood of denied paths evicts no permission.
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
        self._bucket = TokenBucket(qps, burst, MAX_WAIT)
        self._max_entries = max_entries
        self._allowed: OrderedDict[bytes, tuple[AccessAnswer, float]] = OrderedDict()
        self._denied: OrderedDict[bytes, tuple[AccessAnswer, float]] = OrderedDict()
        self._sender: ReviewSender[bytes, AccessAnswer] = ReviewSender(clock, _OUTAGE, on_review=on_review)
        self._on_state = on_state
        self._on_lookup = on_lookup
        self._on_eviction = on_eviction

    def __len__(self) -> int:
        return len(self._allowed) + len(self._denied)

    def try_review(
        self, identity: Identity, attributes: AccessAttributes, *, allowed_ttl: float, denied_ttl: float
    ) -> AccessAnswer | Pending[AccessAnswer | Unavailable]:
        """Return the cached answer if it is younger than its TTL in seconds, or a `Pending` that sends a review."""
        key = _digest(identity, attributes)
        now = self._clock.monotonic()
        for answers, ttl in ((self._allowed, allowed_ttl), (self._denied, denied_ttl)):
            entry = answers.get(key)
            if entry is not None and now - entry[1] < ttl:
                answers.move_to_end(key)
                self._on_lookup("hit")
                return entry[0]
        self._on_lookup("miss")
        return Pending(lambda: self._review(key, identity, attributes))

    async def close(self) -> None:
        """Cancel the reviews in progress."""
        await self._sender.close()

    async def _review(
        self, key: bytes, identity: Identity, attributes: AccessAttributes
    ) -> AccessAnswer | Unavailable:
        def on_answer(answer: AccessAnswer, asked_at: float) -> str:
            self._store(key, answer, asked_at)
            return "allowed" if answer.allowed else "denied"

        return await self._sender.send(
            key,
            lambda: self._bucket.reserve(self._clock.monotonic(), identity.username),
            lambda: self._api.review_access(identity, attributes),
            on_answer,
            self._on_state,
        )

    def _store(self, key: bytes, answer: AccessAnswer, asked_at: float) -> None:
        mine, other = (self._allowed, self._denied) if answer.allowed else (self._denied, self._allowed)
        other.pop(key, None)
        mine[key] = (answer, asked_at)
        mine.move_to_end(key)
        if len(mine) > self._max_entries:
            mine.popitem(last=False)
            self._on_eviction()


class AccessReviewers:
    """The access reviewers of all clusters. An identity of a cluster is reviewed by its own cluster."""

    def __init__(self, by_cluster: Mapping[str, AccessReviewer]) -> None:
        self._by_cluster = dict(by_cluster)
        self._first = next(iter(self._by_cluster), "")

    def of(self, identity: Identity, otherwise: str | None = None) -> AccessReviewer:
        """Return the reviewer for an identity: that of its cluster, else of cluster `otherwise`, else the first one.

        Raises KeyError for an unknown cluster, which validation of the configuration prevents.
        """
        return self._by_cluster[identity.cluster or otherwise or self._first]

    @property
    def entries(self) -> int:
        """The number of remembered answers."""
        return sum(map(len, self._by_cluster.values()))

    async def close(self) -> None:
        """Cancel the reviews in progress."""
        for reviewer in self._by_cluster.values():
            await reviewer.close()


def _digest(identity: Identity, attributes: AccessAttributes) -> bytes:
    # Everything that is sent, and nothing else. The repr of strings in tuples is unambiguous. Paths can be long.
    subject = (identity.username, identity.uid, identity.groups, identity.extra)
    return hashlib.sha256(repr((subject, attributes)).encode()).digest()
