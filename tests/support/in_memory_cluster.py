"""A cluster's API in memory: its responses are scripted, and its requests are recorded."""

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
    """A `ClusterAPI` with documents by path and reviews by token. An `ApiError` among them is raised.

    Other tokens get `otherwise`. `asked` has the paths, limits and timeouts of requests. `reviewed` has the tokens
    and audiences of reviews. While `held` is True, reviews wait. `meanwhile` is called during each review.
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
        """Return the document at a path."""
        self.asked.append((path, limit, within))
        document = self.documents.get(path, ApiError(ApiErrorKind.BAD_ANSWER, "answered 404"))
        if isinstance(document, ApiError):
            raise document
        return document

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Return the scripted review of a token."""
        self.reviewed.append((token, audiences))
        self.meanwhile()
        if self.held:
            await self._released.wait()
        answer = self.answers.get(token, self.otherwise)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def own_issuer(self) -> str | None:
        """Return the issuer of the gate's own token."""
        return self._own_issuer

    async def close(self) -> None:
        """Do nothing, because no connection is open."""

    def release(self) -> None:
        """Finish the reviews that are held."""
        self.held = False
        self._released.set()
