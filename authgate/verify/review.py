"""Sending reviews to an API server: once for all who wait, and within a budget. No error counts as an answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.model import NO_EVIDENCE, Unavailable
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from authgate.errors import Reason
    from authgate.model import Clock, Evidence

MAX_WAIT = 1.0
"""Seconds that a review may wait for its turn."""

K = TypeVar("K", bound="Hashable")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Outage:
    """How a kind of review reports that it got no answer."""

    unavailable: Reason
    forbidden: Reason
    throttled: Reason
    evidence: Evidence = NO_EVIDENCE


class ReviewSender(Generic[K, A]):
    """Sends reviews of one kind, each with a key; reviews with the same key share one request.

    `on_review` gets the result and the duration in seconds of each review; one that was not sent is `throttled`.
    """

    def __init__(
        self,
        clock: Clock,
        outage: Outage,
        *,
        on_review: Callable[[str, float], None],
    ) -> None:
        self._clock = clock
        self._outage = outage
        self._flights: SingleFlight[K, A | Unavailable] = SingleFlight()
        self._on_review = on_review

    async def send(
        self,
        key: K,
        reserve: Callable[[], float | Unavailable | None],
        call: Callable[[], Awaitable[A]],
        on_answer: Callable[[A, float], str],
        on_state: Callable[[str | None], None],
    ) -> A | Unavailable:
        """Return the answer of `call`, or `Unavailable` if it raises `ApiError`.

        `reserve` returns the seconds to wait first, None if the budget is used up, or why no review is sent.
        `on_answer` gets the answer and the monotonic time of the request, and returns the result to report. `on_state`
        gets the error of a review that was sent, or None if it was answered.
        """
        return await self._flights.do(key, lambda: self._send(reserve, call, on_answer, on_state))

    async def close(self) -> None:
        """Cancel the reviews in progress."""
        await self._flights.close()

    async def _send(
        self,
        reserve: Callable[[], float | Unavailable | None],
        call: Callable[[], Awaitable[A]],
        on_answer: Callable[[A, float], str],
        on_state: Callable[[str | None], None],
    ) -> A | Unavailable:
        wait = reserve()
        if wait is None:
            wait = Unavailable(self._outage.throttled, evidence=self._outage.evidence)
        if isinstance(wait, Unavailable):
            self._on_review("throttled", 0.0)
            return wait
        if wait:
            await asyncio.sleep(wait)
        started = self._clock.monotonic()
        try:
            answer = await call()
        except ApiError as error:
            self._on_review(error.kind.value, self._clock.monotonic() - started)
            on_state(str(error))
            forbidden = error.kind in (ApiErrorKind.FORBIDDEN, ApiErrorKind.UNAUTHORIZED)
            reason = self._outage.forbidden if forbidden else self._outage.unavailable
            return Unavailable(reason, str(error), max(1, error.retry_after), self._outage.evidence)
        self._on_review(on_answer(answer, started), self._clock.monotonic() - started)
        on_state(None)
        return answer
