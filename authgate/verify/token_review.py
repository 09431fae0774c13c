"""Asking a server about tokens: a budget for each kind of token, so that a flood of one does not stop the others."""

from __future__ import annotations

import math
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar, get_args

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewedUser
from authgate.errors import Reason
from authgate.model import Evidence, Unavailable
from authgate.verify.budget import RecentTokens, TokenBucket
from authgate.verify.review import MAX_WAIT, Outage, ReviewSender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from authgate.cluster.api import TokenReviewAPI
    from authgate.model import Clock

Budget = Literal["signed", "issuer", "opaque"]
"""New tokens with a valid signature, new tokens of the cluster's issuer that no key in memory can check, and others."""

_RENEWAL: Final = "renewal"
PROBE_TOKEN: Final = "authgate-readiness-probe"
"""An invented token, to find out whether a server answers."""
_MAX_RECENT = 100_000
_RECENT = 7200.0

A = TypeVar("A")


class TokenChecker(Generic[A]):
    """Asks one server about tokens. Errors are `Unavailable`, never a rejection.

    Invented tokens cannot use up the requests that tokens with a valid signature need, and new tokens cannot use up
    those of tokens that were valid lately. Within a budget, requests with different keys get equal shares. If the
    server answers 429, no request is sent for the time in its Retry-After.
    """

    def __init__(
        self,
        clock: Clock,
        outage: Outage,
        *,
        budgets: tuple[str, ...],
        qps: float,
        burst: int,
        on_review: Callable[[str, float], None] = lambda _result, _seconds: None,
        on_state: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        self._clock = clock
        self._outage = outage
        self._budgets = {budget: TokenBucket(qps, burst, MAX_WAIT) for budget in (*budgets, _RENEWAL)}
        self._secret = secrets.token_bytes(64)  # one block of the hash, so that no digest can be extended
        self._valid = RecentTokens(_MAX_RECENT, _RECENT)
        self._valid_shapes: set[Hashable] = {None}  # None is the key of the probe
        self._resume_at = -math.inf
        self._on_state = on_state
        self._error: str | None = "no review yet"
        self._sender: ReviewSender[tuple[str, tuple[str, ...]], A]
        self._sender = ReviewSender(clock, outage, on_review=on_review)

    async def check(
        self,
        token: str,
        audiences: tuple[str, ...],
        budget: str,
        key: Hashable,
        *,
        request: Callable[[], Awaitable[A]],
        result_of: Callable[[A], tuple[bool, str]],
    ) -> A | Unavailable:
        """Return the answer of `request`, which concurrent callers with the same token and audiences share.

        `result_of` returns whether the token is valid, and the result to report.
        Requests with the same `key` share a part of the budget's queue: the namespace of an account, or the shape of a
        token whose signature was not verified. Shapes without any valid token so far share one part, because a client
        can invent shapes. There are only a few hundred shapes.
        """
        digest = sha256(self._secret + token.encode("utf-8", "surrogatepass")).digest()[:16]

        async def call() -> A:
            try:
                return await request()
            except ApiError as error:
                if error.kind is ApiErrorKind.RATE_LIMITED:
                    self._resume_at = self._clock.monotonic() + max(1, error.retry_after)
                raise

        def on_answer(answer: A, _: float) -> str:
            valid, result = result_of(answer)
            if not valid:
                self._valid.discard(digest)
                return result
            self._valid.add(digest, self._clock.monotonic())
            if budget != "signed":
                self._valid_shapes.add(key)
            return result

        return await self._sender.send(
            (token, audiences),
            lambda: self._reserve(digest, budget, key),
            call,
            on_answer,
            lambda error: self._set_state(error, probe=token == PROBE_TOKEN),
        )

    def saturation(self) -> dict[str, float]:
        """Return for each budget the demand of the last minute, as a share of its rate; above 1, some are refused."""
        now = self._clock.monotonic()
        return {name: bucket.saturation(now) for name, bucket in self._budgets.items()}

    def inherit(self, other: TokenChecker[A]) -> None:
        """Adopt what another checker knows about recently valid tokens, so that a reload keeps it."""
        self._secret, self._valid, self._valid_shapes = other._secret, other._valid, other._valid_shapes

    async def close(self) -> None:
        """Cancel the requests in progress."""
        await self._sender.close()

    def status(self) -> tuple[bool, str]:
        """Return whether the last request was answered, and the error if it was not."""
        return self._error is None, self._error or "answers"

    def _set_state(self, error: str | None, *, probe: bool) -> None:
        """Keep the error of a request, or None if it was answered; `probe` is whether it was one of authgate's own."""
        self._error = error
        self._on_state(error)

    def _reserve(self, digest: bytes, budget: str, key: Hashable) -> float | Unavailable | None:
        now = self._clock.monotonic()
        if now < self._resume_at:
            wait = math.ceil(self._resume_at - now)
            return Unavailable(self._outage.unavailable, self._error or "", wait, self._outage.evidence)
        known = self._valid.has(digest, now)
        invented = not known and budget != "signed" and key not in self._valid_shapes
        return self._budgets[_RENEWAL if known else budget].reserve(now, key, invented=invented)


class TokenReviewer(TokenChecker[ReviewedUser | NotAuthenticated]):
    """Sends TokenReviews to one cluster."""

    def __init__(
        self,
        api: TokenReviewAPI,
        clock: Clock,
        *,
        name: str,
        qps: float,
        burst: int,
        on_review: Callable[[str, float], None] = lambda _result, _seconds: None,
        on_state: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        evidence = Evidence("tokenreview", name)
        super().__init__(
            clock,
            Outage(Reason.REVIEW_UNAVAILABLE, Reason.REVIEW_FORBIDDEN, Reason.REVIEW_THROTTLED, evidence),
            budgets=get_args(Budget),
            qps=qps,
            burst=burst,
            on_review=on_review,
            on_state=on_state,
        )
        self._api = api

    async def review(
        self, token: str, audiences: tuple[str, ...], budget: Budget, key: Hashable = None
    ) -> ReviewedUser | NotAuthenticated | Unavailable:
        """Return the API server's answer about `token` for `audiences`."""
        return await self.check(
            token,
            audiences,
            budget,
            key,
            request=lambda: self._api.review_token(token, audiences),
            result_of=_result_of,
        )

    async def probe(self, audiences: tuple[str, ...]) -> None:
        """Review an invalid token, to find out whether the API server answers."""
        await self.review(PROBE_TOKEN, audiences, "issuer")


def _result_of(answer: ReviewedUser | NotAuthenticated) -> tuple[bool, str]:
    return (True, "authenticated") if isinstance(answer, ReviewedUser) else (False, "refused")
