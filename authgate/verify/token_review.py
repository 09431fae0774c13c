"""TokenReview: a budget for each kind of token, so that a flood of one kind does not stop the reviews of the others."""

from __future__ import annotations

import math
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, get_args

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewedUser
from authgate.errors import Reason
from authgate.model import Evidence, Unavailable
from authgate.verify.budget import RecentTokens, TokenBucket
from authgate.verify.review import MAX_WAIT, Outage, ReviewSender

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from authgate.cluster.api import ClusterAPI
    from authgate.model import Clock

Budget = Literal["signed", "issuer", "opaque"]
"""New tokens with a valid signature, new tokens of the cluster's issuer that no key in memory can check, and others."""
_RENEWAL: Final = "renewal"
BUDGETS: Final = (*get_args(Budget), _RENEWAL)
_PROBE_TOKEN = "authgate-readiness-probe"
_MAX_RECENT = 100_000
_RECENT = 7200.0


class TokenReviewer:
    """Sends TokenReviews to one cluster. Errors are `Unavailable`, never a rejection.

    Invented tokens cannot use up the reviews that the cluster's own tokens need, and new tokens cannot use up those of
    tokens that were valid lately. Within a budget, the keys of the callers share the reviews fairly. If the API server
    answers 429, no review is sent for the time in its Retry-After.
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
        self._budgets = {budget: TokenBucket(qps, burst, MAX_WAIT) for budget in BUDGETS}
        self._secret = secrets.token_bytes(64)  # one block of the hash, so that no digest can be extended
        self._valid = RecentTokens(_MAX_RECENT, _RECENT)
        self._valid_shapes: set[Hashable] = {None}  # None is the key of the probe
        self._resume_at = -math.inf
        self._on_state = on_state
        self._evidence = Evidence("tokenreview", name)
        self._error: str | None = "no review yet"
        outage = Outage(
            Reason.REVIEW_UNAVAILABLE, Reason.REVIEW_FORBIDDEN, Reason.REVIEW_THROTTLED, self._evidence
        )
        self._sender: ReviewSender[tuple[str, tuple[str, ...]], ReviewedUser | NotAuthenticated]
        self._sender = ReviewSender(clock, outage, on_review=on_review, on_state=self._set_state)

    async def review(
        self, token: str, audiences: tuple[str, ...], budget: Budget, key: Hashable = None
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        """Return the API server's answer about `token` for `audiences`.

        Reviews with the same `key` share a part of the budget's queue: the namespace of an account, or the shape of a
        token whose signature was not verified. Shapes without any valid token so far share one part, because a client
        can invent shapes. There are only a few hundred shapes.
        """
        digest = sha256(self._secret + token.encode("utf-8", "surrogatepass")).digest()[:16]

        async def call() -> ReviewedUser | NotAuthenticated:
            try:
                return await self._api.review_token(token, audiences)
            except ApiError as error:
                if error.kind is ApiErrorKind.RATE_LIMITED:
                    self._resume_at = self._clock.monotonic() + max(1, error.retry_after)
                raise

        def on_answer(answer: ReviewedUser | NotAuthenticated, _: float) -> str:
            if not isinstance(answer, ReviewedUser):
                self._valid.discard(digest)
                return "refused"
            self._valid.add(digest, self._clock.monotonic())
            if budget != "signed":
                self._valid_shapes.add(key)
            return "authenticated"

        return await self._sender.send(
            (token, audiences), lambda: self._reserve(digest, budget, key), call, on_answer
        )

    def saturation(self) -> dict[str, float]:
        """Return for each budget the demand of the last minute, as a share of its rate; above 1, some are refused."""
        now = self._clock.monotonic()
        return {name: bucket.saturation(now) for name, bucket in self._budgets.items()}

    def inherit(self, other: TokenReviewer) -> None:
        """Adopt what another reviewer knows about recently valid tokens, so that a reload keeps it."""
        self._secret, self._valid, self._valid_shapes = other._secret, other._valid, other._valid_shapes

    async def probe(self, audiences: tuple[str, ...]) -> None:
        """Review an invalid token, to find out whether the API server answers."""
        await self.review(_PROBE_TOKEN, audiences, "issuer")

    async def close(self) -> None:
        """Cancel the reviews in progress."""
        await self._sender.close()

    def status(self) -> tuple[bool, str]:
        """Return whether the last review was answered, and the error if it was not."""
        return self._error is None, self._error or "answers"

    def _set_state(self, error: str | None) -> None:
        self._error = error
        self._on_state(error)

    def _reserve(self, digest: bytes, budget: Budget, key: Hashable) -> float | Unavailable | None:
        now = self._clock.monotonic()
        if now < self._resume_at:
            wait = math.ceil(self._resume_at - now)
            return Unavailable(Reason.REVIEW_UNAVAILABLE, self._error or "", wait, self._evidence)
        known = self._valid.has(digest, now)
        invented = not known and budget != "signed" and key not in self._valid_shapes
        return self._budgets[_RENEWAL if known else budget].reserve(now, key, invented=invented)
