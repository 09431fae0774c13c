"""A cluster's API without a server: every answer is scripted, every question counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewedUser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.cluster.api import ReviewAnswer

REFUSED = NotAuthenticated("invalid bearer token")
"""The review of an unknown token."""


def reviewed(username: str = "alice", *, audiences: tuple[str, ...] = ("my-audience",)) -> ReviewedUser:
    """The review of a known token."""
    return ReviewedUser(username, "uid-1", ("system:authenticated",), (), audiences)


class InMemoryCluster:
    """A `ClusterAPI` of these documents by path and review answers by token; an `ApiError` among them is raised.

    A token without an answer of its own gets `otherwise`. `asked` holds the paths, limits and time-outs, `reviewed`
    the tokens and audiences, in their order. While `held`, a review has begun and does not end; `meanwhile` is
    called during each.
    """

    def __init__(
        self,
        *,
        documents: Mapping[str, bytes | ApiError] | None = None,
        answers: Mapping[str, ReviewAnswer | ApiError] | None = None,
        otherwise: ReviewAnswer | ApiError = REFUSED,
        own_issuer: str | None = None,
    ) -> None:
        self.documents = dict(documents or {})
        self.answers = dict(answers or {})
        self.otherwise = otherwise
        self.asked: list[tuple[str, int, float | None]] = []
        self.reviewed: list[tuple[str, tuple[str, ...]]] = []
        self.held = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._own_issuer = own_issuer
        self._released = asyncio.Event()

    async def get(self, path: str, *, limit: int, within: float | None = None) -> bytes:
        """The document at a path."""
        self.asked.append((path, limit, within))
        document = self.documents.get(path, ApiError(ApiErrorKind.BAD_ANSWER, "answered 404"))
        if isinstance(document, ApiError):
            raise document
        return document

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        """The scripted answer about a token."""
        self.reviewed.append((token, audiences))
        self.meanwhile()
        if self.held:
            await self._released.wait()
        answer = self.answers.get(token, self.otherwise)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def own_issuer(self) -> str | None:
        """The issuer of the gate's own token."""
        return self._own_issuer

    async def close(self) -> None:
        """Nothing is open."""

    def release(self) -> None:
        """Lets the reviews that are held go on."""
        self.held = False
        self._released.set()
