"""Asking the cluster about a token: within a budget, once at a time, and no error ever passes for a no."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Literal, get_args

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewedUser
from authgate.errors import Reason
from authgate.model import Evidence, Unavailable
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.cluster.api import ClusterAPI
    from authgate.model import Clock

Budget = Literal["signed", "issuer", "opaque"]
"""Tokens whose signature holds, those of the issuer that no key at hand tells apart from made-up ones, and others."""
_PROBE_TOKEN = "authgate-readiness-probe"
_MAX_WAIT = 1.0


class TokenBucket:
    """A rate limit of `qps` per second with bursts of `burst`, for callers who may wait a moment."""

    def __init__(self, qps: float, burst: int, max_wait: float) -> None:
        self._interval = 1.0 / qps
        self._capacity = burst * self._interval
        self._max_wait = max_wait
        self._busy_until = -math.inf  # a monotonic clock may begin at 0

    def reserve(self, now: float) -> float | None:
        """Take a place and return in how many seconds it is due (0 for at once), or None where that is too far off."""
        start = max(self._busy_until, now - self._capacity + self._interval)
        wait = max(0.0, start - now)
        if wait > self._max_wait:
            return None
        self._busy_until = start + self._interval
        return wait


class Reviewer:
    """TokenReview with single-flight and a budget of its own for each kind of tokens.

    A flood of made-up tokens cannot use up the reviews that the cluster's own tokens need.
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
        self._budgets = {budget: TokenBucket(qps, burst, _MAX_WAIT) for budget in get_args(Budget)}
        self._flights: SingleFlight[
            tuple[str, tuple[str, ...]], ReviewedUser | NotAuthenticated | Unavailable
        ] = SingleFlight()
        self._on_review = on_review
        self._on_state = on_state
        self._evidence = Evidence("tokenreview", name)
        self._answers = False
        self._error = "no review yet"

    async def review(
        self, token: str, audiences: tuple[str, ...], budget: Budget
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        """Return what the API server says of `token` for `audiences`; every error is `Unavailable`, never a no."""
        return await self._flights.do((token, audiences), lambda: self._review(token, audiences, budget))

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
        self, token: str, audiences: tuple[str, ...], budget: Budget
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        wait = self._budgets[budget].reserve(self._clock.monotonic())
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
        result = "authenticated" if isinstance(answer, ReviewedUser) else "refused"
        self._on_review(result, self._clock.monotonic() - started)
        return answer

    def _unavailable(self, error: ApiError) -> Unavailable:
        self._error = str(error)
        self._answers = False
        self._on_state(self._error)
        reason = Reason.REVIEW_UNAVAILABLE
        if error.kind in (ApiErrorKind.FORBIDDEN, ApiErrorKind.UNAUTHORIZED):
            reason = Reason.REVIEW_FORBIDDEN
        return Unavailable(reason, str(error), max(1, error.retry_after), self._evidence)
