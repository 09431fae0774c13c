"""The values that travel through the gate: frozen, slotted, and without behaviour that needs I/O.

Outcomes are closed unions (`Verdict`, `Decision`), matched exhaustively: "bad token" and "cannot tell" are
different types and so never share a branch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from authgate.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

Source = Literal["none", "jwks", "tokenreview", "cache"]
"""What decided: nothing had to, a local key, the cluster's TokenReview, or a cached verdict of either."""


Headers = tuple[tuple[str, str], ...]
"""Header names and values, in the order in which they are sent."""

POD_NAME = "authentication.kubernetes.io/pod-name"
"""The `extra` key that names the pod a ServiceAccount token is bound to."""


class Clock(Protocol):
    """Time as the gate sees it; both in seconds."""

    def now(self) -> float:
        """Return the wall clock as a POSIX timestamp."""
        ...

    def monotonic(self) -> float:
        """Return a clock that never goes back, for ages and time-outs."""
        ...


class BearerToken:
    """A syntactically valid bearer token (RFC 6750, section 2.1); it has no repr, so no log can show it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "BearerToken(…)"


class Lease:
    """The right of verdicts to live on in a cache; its giver revokes it when a key or a configuration goes."""

    __slots__ = ("__weakref__", "revoked")

    def __init__(self) -> None:
        self.revoked = False

    def revoke(self) -> None:
        """Make every verdict that holds this lease unusable from now on."""
        self.revoked = True


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A Kubernetes ServiceAccount, as its cluster names it."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
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
        return next((values[0] for name, values in self.extra if name == key and values), "")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Which key verified a token, for explanations: its id, type and where it came from."""

    kid: str
    kty: str
    origin: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far verification came: what decided, by which configured issuer, and with which key."""

    source: Source = "none"
    issuer_name: str = ""
    key: KeyInfo | None = None


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The token is good until `expires_at` (POSIX seconds, leeway included; None for no end)."""

    identity: Identity
    expires_at: float | None
    evidence: Evidence
    lease: Lease = field(compare=False)
    max_age: float | None = None
    bonds: tuple[Lease, ...] = field(default=(), compare=False)
    """Further leases: those of the pod, account, node or secret that the token is bound to, where they are watched."""
    answers: dict[str, Answer] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What policies made of this verdict, by their names; it lives in the cache with the verdict."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The token is bad. `final` tells that asking again soon gives the same answer while `lease` holds."""

    reason: Reason
    detail: str = ""
    evidence: Evidence = NO_EVIDENCE
    final: bool = True
    lease: Lease | None = field(default=None, compare=False)
    answers: dict[str, Answer] = field(default_factory=dict, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """It cannot be told whether the token is good; never cached. `retry_after` is in seconds."""

    reason: Reason
    detail: str = ""
    retry_after: int = 1
    evidence: Evidence = NO_EVIDENCE


Verdict = Authenticated | Rejected | Unavailable

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Pending(Generic[T_co]):
    """An outcome that memory alone does not give: `finish` waits for whoever must be asked."""

    finish: Callable[[], Awaitable[T_co]]


@dataclass(frozen=True, slots=True)
class OriginalRequest:
    """The request that the client sent to the proxy; None where the proxy did not tell, or not clearly."""

    method: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may pass, without a token where `identity` is None. `headers` name the sender to the app."""

    identity: Identity | None
    reason: Literal[Reason.AUTHENTICATED, Reason.ANONYMOUS]
    evidence: Evidence
    headers: Headers


@dataclass(frozen=True, slots=True)
class Deny:
    """The request may not pass: 401, 403 or 404 as its reason says. `identity` is known only after verification.

    `private` adds to the detail what is for the audit log and for explanations, never for the client.
    """

    reason: Reason
    detail: str
    evidence: Evidence
    identity: Identity | None = None
    private: str = ""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """No decision is possible now: 503 with `Retry-After` of `retry_after` seconds."""

    reason: Reason
    detail: str
    retry_after: int
    evidence: Evidence


Decision = Allow | Deny | CannotTell


class Answer:
    """A decision that holds for every request with the same verdict and policy; `wire` keeps what was made of it."""

    __slots__ = ("decision", "wire")

    def __init__(self, decision: Allow | Deny) -> None:
        self.decision = decision
        self.wire: tuple[bytes, object] | None = None


JSONValue = None | bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"]
"""A parsed JSON value; numbers are finite."""


@dataclass(frozen=True, slots=True)
class UnverifiedClaims:
    """A JWT's payload before its signature was checked: good for routing and refusing, never for identity."""

    members: Mapping[str, JSONValue]


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """A JWT's payload after signature, time and audience held."""

    members: Mapping[str, JSONValue]
