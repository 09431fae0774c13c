"""Asking the cluster about a token: within a budget, once at a time, and no error ever passes for a no."""

from __future__ import annotations

import asyncio
import math
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, get_args

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewedUser
from authgate.errors import Reason
from authgate.model import Evidence, Unavailable
from authgate.single_flight import SingleFlight
from authgate.verify.budget import RecentTokens, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from authgate.cluster.api import ClusterAPI
    from authgate.model import Clock

Budget = Literal["signed", "issuer", "opaque"]
"""New tokens whose signature holds, those of the issuer that no available key can check, and others."""
_RENEWAL: Final = "renewal"
BUDGETS: Final = (*get_args(Budget), _RENEWAL)
_PROBE_TOKEN = "authgate-readiness-probe"
_MAX_WAIT = 1.0
_MAX_RECENT = 100_000
_RECENT = 7200.0


class Reviewer:
    """TokenReview with single-flight and a budget of its own for each kind of tokens.

    A flood of made-up tokens cannot use up the reviews that the cluster's own tokens need, and no new token those of
    tokens that were found good lately. Within a budget, reviews are shared fairly between the keys of their callers.
    When the API server answers 429, no review is sent until it wants one again.
    """

    def __init__(
        self,
        api: ClusterAPI,
        clock: Clock,
        *,
        name: str,
        qps: float,
        burst: int,
        on_review: Callable[[str, float], None] = lambda _result, _seconds: None,
        on_state: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._budgets = {budget: TokenBucket(qps, burst, _MAX_WAIT) for budget in BUDGETS}
        self._secret = secrets.token_bytes(64)  # one block of the hash, so that no digest can be extended
        self._good = RecentTokens(_MAX_RECENT, _RECENT)
        self._good_shapes: set[Hashable] = {None}  # None: the probe's own
        self._resume_at = -math.inf
        self._flights: SingleFlight[
            tuple[str, tuple[str, ...]], ReviewedUser | NotAuthenticated | Unavailable
        ] = SingleFlight()
        self._on_review = on_review
        self._on_state = on_state
        self._evidence = Evidence("tokenreview", name)
        self._answers = False
        self._error = "no review yet"

    async def review(
        self, token: str, audiences: tuple[str, ...], budget: Budget, key: Hashable = None
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        """Return the API server's answer about `token` for `audiences`; every error is `Unavailable`, never a no.

        `key` names whose reviews share the budget's queue: an account's namespace, or the shape of a token that no key
        vouches for. Shapes of which no token was ever good share one part of the queue, since a stranger can invent
        many; there are few hundred shapes.
        """
        return await self._flights.do((token, audiences), lambda: self._review(token, audiences, budget, key))

    def saturation(self) -> dict[str, float]:
        """Return by budget the reviews wanted lately as a part of those that may be sent; over 1, some are refused."""
        now = self._clock.monotonic()
        return {name: bucket.saturation(now) for name, bucket in self._budgets.items()}

    def inherit(self, other: Reviewer) -> None:
        """Adopt another reviewer's knowledge of which tokens were good lately, so that a reload does not end it."""
        self._secret, self._good, self._good_shapes = other._secret, other._good, other._good_shapes

    async def probe(self, audiences: tuple[str, ...]) -> None:
        """Find out whether the API server reviews tokens at all, by one that is certainly bad."""
        await self.review(_PROBE_TOKEN, audiences, "issuer")

    async def close(self) -> None:
        """End the reviews under way."""
        await self._flights.close()

    def status(self) -> tuple[bool, str]:
        """Tell whether the last review was answered, and if not why."""
        return self._answers, "answers" if self._answers else self._error

    async def _review(
        self, token: str, audiences: tuple[str, ...], budget: Budget, key: Hashable
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        now = self._clock.monotonic()
        if now < self._resume_at:
            self._on_review("throttled", 0.0)
            return Unavailable(
                Reason.REVIEW_UNAVAILABLE, self._error, math.ceil(self._resume_at - now), self._evidence
            )
        digest = sha256(self._secret + token.encode("utf-8", "surrogatepass")).digest()[:16]
        known = self._good.has(digest, now)
        invented = not known and budget != "signed" and key not in self._good_shapes
        wait = self._budgets[_RENEWAL if known else budget].reserve(now, key, invented=invented)
        if wait is None:
            self._on_review("throttled", 0.0)
            return Unavailable(Reason.REVIEW_THROTTLED, "", 1, self._evidence)
        if wait:
            await asyncio.sleep(wait)
        started = self._clock.monotonic()
        try:
            answer = await self._api.review_token(token, audiences)
        except ApiError as error:
            self._on_review(error.kind.value, self._clock.monotonic() - started)
            return self._unavailable(error)
        self._answers = True
        self._on_state(None)
        good = isinstance(answer, ReviewedUser)
        result = "authenticated" if good else "refused"
        if good:
            self._good.add(digest, self._clock.monotonic())
            if budget != "signed":
                self._good_shapes.add(key)
        else:
            self._good.discard(digest)
        self._on_review(result, self._clock.monotonic() - started)
        return answer

    def _unavailable(self, error: ApiError) -> Unavailable:
        self._error = str(error)
        self._answers = False
        self._on_state(self._error)
        if error.kind is ApiErrorKind.RATE_LIMITED:
            self._resume_at = self._clock.monotonic() + max(1, error.retry_after)
        reason = Reason.REVIEW_UNAVAILABLE
        if error.kind in (ApiErrorKind.FORBIDDEN, ApiErrorKind.UNAUTHORIZED):
            reason = Reason.REVIEW_FORBIDDEN
        return Unavailable(reason, str(error), max(1, error.retry_after), self._evidence)
