"""The part of the Kubernetes API that the gate uses, and the closed set of ways in which a call fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from authgate.model import Identity


class ApiErrorKind(StrEnum):
    """How an API server failed to answer; also the `result` label of `authgate_tokenreview_requests_total`."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad_answer"


class ApiError(Exception):
    """The API server gave no usable answer; `detail` is the reason, bounded and without any token.

    `retry_after` is the server's Retry-After in seconds, 0 without one.
    """

    def __init__(self, kind: ApiErrorKind, detail: str, retry_after: int = 0) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ReviewedUser:
    """A token that TokenReview authenticated (`authentication.k8s.io/v1`); `extra` is sorted by key."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotAuthenticated:
    """TokenReview rejected the token. `error` is the server's message, shortened."""

    error: str


ReviewAnswer = ReviewedUser | NotAuthenticated


@dataclass(frozen=True, slots=True)
class NonResourceAttributes:
    """A verb on a path that is not a Kubernetes object (`authorization.k8s.io/v1`)."""

    path: str
    verb: str


@dataclass(frozen=True, slots=True)
class ResourceAttributes:
    """A verb on Kubernetes objects (`authorization.k8s.io/v1`).

    "" means the core group, any version, a cluster-scoped object or all namespaces, no subresource, and all names.
    """

    verb: str
    resource: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    subresource: str = ""
    name: str = ""


AccessAttributes = NonResourceAttributes | ResourceAttributes


@dataclass(frozen=True, slots=True)
class AccessAnswer:
    """Whether the cluster's authorizers allow it, with their reason, bounded."""

    allowed: bool
    reason: str = ""


class AccessAPI(Protocol):
    """The part of one cluster's API that access reviews use."""

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        """Ask SubjectAccessReview whether `identity` may do this; raises `ApiError`."""
        ...


class TokenReviewAPI(Protocol):
    """The part of one cluster's API that TokenReviews use."""

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        """Ask TokenReview about `token` for `audiences` (never empty); raises `ApiError`."""
        ...


class ClusterAPI(TokenReviewAPI, Protocol):
    """The part of one cluster's API that the gate uses."""

    async def get(self, path: str, *, limit: int, within: float | None = None) -> bytes:
        """Return the body of a 200 answer to GET `path`, at most `limit` bytes; raises `ApiError`.

        `within` is in seconds; None means the client's own timeout.
        """
        ...

    def own_issuer(self) -> str | None:
        """Return the `iss` of the gate's own ServiceAccount token, or None if it has no such token."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
