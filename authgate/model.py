"""The values that travel through the gate: frozen, slotted, and without behaviour that needs I/O.

Outcomes are closed unions (`Verdict`, `Decision`), matched exhaustively. A bad token and an outage are different types,
so no branch can confuse them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeVar, dataclass_transform

from authgate.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Return a class as a slotted dataclass that nobody changes: the type checker holds it frozen, Python does not.

    Several of these are made for each request, and `frozen=True` would make each of them three times as slow to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Source = Literal["none", "jwks", "tokenreview", "cache"]
"""What decided: nothing had to, a local key, the cluster's TokenReview, or a cached verdict of either."""


Headers = tuple[tuple[str, str], ...]
"""Header names and values, in the order in which they are sent."""


class Clock(Protocol):
    """Time as the gate sees it; both in seconds."""

    def now(self) -> float:
        """Return the wall clock as a POSIX timestamp."""
        ...

    def monotonic(self) -> float:
        """Return a clock that never goes back, for ages and time-outs."""
        ...


class BearerToken:
    """A syntactically valid bearer token (RFC 6750, section 2.1). Its repr does not show it, so no log can.

    `digest` is its key in the verdict cache if the cache was just searched without success, else empty.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str, digest: bytes = b"") -> None:
        self.text = text
        self.digest = digest

    def __repr__(self) -> str:
        return "BearerToken(…)"


class RevocationHandle:
    """The right of verdicts to live on in a cache; its giver revokes it when a key or a configuration goes."""

    __slots__ = ("__weakref__", "revoked")

    def __init__(self) -> None:
        self.revoked = False

    def revoke(self) -> None:
        """Make every verdict that holds this lease unusable from now on."""
        self.revoked = True


@value
class ServiceAccount:
    """A Kubernetes ServiceAccount, as its cluster names it."""

    namespace: str
    name: str


@value
class Identity:
    """Who sent the request, named as the kube-apiserver would name them (`user.Info`).

    `extra` is sorted by key. `issuer` is the token's `iss` (empty for a static token), `issuer_name` the
    configured label, `cluster` the cluster's name for identities of clusters and None for those of `jwt` issuers.
    `audiences` are those of the token that the gate accepts, sorted.
    """

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    issuer: str = ""
    issuer_name: str = ""
    cluster: str | None = None
    service_account: ServiceAccount | None = None
    audiences: tuple[str, ...] = ()
    email: str = ""
    preferred_username: str = ""

    def extra_value(self, key: str) -> str:
        """Return the first value of an `extra` key, or "" where there is none."""
        for name, values in self.extra:
            if name == key and values:
                return values[0]
        return ""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Which key verified a token, for explanations: its id, type and where it came from."""

    kid: str
    kty: str
    origin: str


@value
class Evidence:
    """How far verification came: what decided, by which configured issuer, and with which key."""

    source: Source = "none"
    issuer_name: str = ""
    key: KeyInfo | None = None
    _cached: Evidence | None = field(default=None, init=False, compare=False, repr=False)

    def as_cached(self) -> Evidence:
        """Return the evidence of a verdict that is remembered from this one; always the same."""
        if self._cached is None:
            object.__setattr__(self, "_cached", Evidence("cache", self.issuer_name, self.key))
        return self._cached or self


NO_EVIDENCE = Evidence()


class AnswerKey:
    """The key of an answer kept with a verdict. Each instance is a different key."""

    __slots__ = ()


_MAX_MORE_ANSWERS: Final = (
    64  # a client may send a token to many endpoints, whose policies may have many rules
)


@value
class CacheableVerdict:
    """A verdict that can be cached, with the answers that policies gave to its token; most tokens have only one."""

    _key: AnswerKey | None = field(default=None, init=False, compare=False, repr=False)
    _answer: Answer | None = field(default=None, init=False, compare=False, repr=False)
    _more: dict[AnswerKey, Answer] | None = field(default=None, init=False, compare=False, repr=False)

    def answer(self, key: AnswerKey) -> Answer | None:
        """Return the answer kept under a key, or None."""
        if key is self._key:
            return self._answer
        return None if self._more is None else self._more.get(key)

    def keep_answer(self, key: AnswerKey, answer: Answer) -> None:
        """Keep an answer as long as the verdict itself. This does not affect how verdicts compare."""
        if self._key is None or key is self._key:
            object.__setattr__(self, "_key", key)
            object.__setattr__(self, "_answer", answer)
        elif self._more is None or len(self._more) >= _MAX_MORE_ANSWERS:
            object.__setattr__(self, "_more", {key: answer})
        else:
            self._more[key] = answer


@value
class Authenticated(CacheableVerdict):
    """The token is good until `expires_at` (POSIX seconds, leeway included; None for no end)."""

    identity: Identity
    expires_at: float | None
    evidence: Evidence
    handle: RevocationHandle = field(compare=False)
    max_age: float | None = None
    """For how many seconds a verdict of TokenReview counts before it is reviewed again; None for one of local keys."""
    object_handles: tuple[RevocationHandle, ...] = field(default=(), compare=False)
    """Further leases: those of the pod, account, node or secret that the token is bound to, where they are watched."""
    claims: VerifiedClaims | None = field(default=None, compare=False, repr=False)
    """What the token claims: kept only where a policy or a header reads it; None where TokenReview decided."""
    until: float = field(default=inf, compare=False, repr=False)
    """Until when a cache may give it, by the monotonic clock."""


@value
class Rejected(CacheableVerdict):
    """The token is bad. `final` tells that asking again soon gives the same answer while `lease` holds.

    `remember_for` is for how many seconds a cache may keep it where that is longer than usual.
    """

    reason: Reason
    detail: str = ""
    evidence: Evidence = NO_EVIDENCE
    final: bool = True
    handle: RevocationHandle | None = field(default=None, compare=False)
    until: float = field(default=inf, compare=False, repr=False)
    """Until when a cache may give it, by the monotonic clock."""
    remember_for: float = field(default=0.0, compare=False)


@value
class Unavailable:
    """No verdict or no decision is possible now: 503 with `Retry-After` of `retry_after` seconds; never cached."""

    reason: Reason
    detail: str = ""
    retry_after: int = 1
    evidence: Evidence = NO_EVIDENCE


Verdict = Authenticated | Rejected | Unavailable

T_co = TypeVar("T_co", covariant=True)


@value
class Pending(Generic[T_co]):
    """An outcome that memory alone does not give: `finish` waits for whoever must be asked."""

    finish: Callable[[], Awaitable[T_co]]


@value
class OriginalRequest:
    """The request that the client sent to the proxy; None where the proxy did not tell, or not clearly."""

    method: str | None = None
    path: str | None = None
    """As the client wrote it, without the query."""
    host: str | None = None
    query: str | None = None
    """What follows the first question mark; "" where nothing does."""
    preflight: bool = False
    """Whether a browser asks by it whether a page of another origin may send a request (Fetch, CORS preflight)."""
    eager: str | None = None
    """The path as the most eager server reads it, where a rule takes paths that can be read in two ways."""


@value
class Allow:
    """The request may pass, without a token where `identity` is None. `headers` name the sender to the app."""

    identity: Identity | None
    reason: Literal[Reason.AUTHENTICATED, Reason.ANONYMOUS]
    evidence: Evidence
    headers: Headers
    expires_at: float | None = None
    """When the token ends, as `Authenticated.expires_at`."""


@value
class Deny:
    """The request may not pass: 401, 403 or 404 as its reason says. `identity` is known only after verification.

    `private` adds to the detail what is for the audit log and for explanations, never for the client.
    """

    reason: Reason
    detail: str
    evidence: Evidence
    identity: Identity | None = None
    private: str = ""


Decision = Allow | Deny | Unavailable


class RenderedAnswer:
    """Base class of what a server keeps with a verdict instead of the decision: its response, ready to send."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


Answer = Allow | Deny | RenderedAnswer
"""A decision that is the same for every request with the same verdict and clause, or a server's response for it."""


JSONValue = None | bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"]
"""A parsed JSON value; numbers are finite."""


@value
class UnverifiedClaims:
    """A JWT's payload before its signature was checked: good for routing and refusing, never for identity."""

    members: Mapping[str, JSONValue]


@value
class VerifiedClaims:
    """A JWT's payload after signature, time and audience held."""

    members: Mapping[str, JSONValue]
