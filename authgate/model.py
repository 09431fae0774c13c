"""The values that the packages exchange: frozen, slotted and without I/O.

Outcomes are closed unions (`Verdict`, `Decision`), matched exhaustively. An invalid token and an outage have different
types, so no branch can confuse them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    dataclass_transform,
)

from authgate.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a slotted dataclass that is frozen for the type checker only.

    Each request creates several of these, and `frozen=True` would triple the time to create one.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


Source = Literal["none", "jwks", "tokenreview", "introspection", "cache"]
"""What decided: nothing was needed, a local key, the cluster's TokenReview, introspection, or a cached verdict."""


Headers = tuple[tuple[str, str], ...]
"""Header names and values, in the order in which they are sent."""


class Clock(Protocol):
    """The two clocks, in seconds."""

    def now(self) -> float:
        """Return the wall clock as a POSIX timestamp."""
        ...

    def monotonic(self) -> float:
        """Return a clock that never goes back, for ages and timeouts."""
        ...


class Moment(NamedTuple):
    """One time by both clocks, in seconds."""

    monotonic: float
    now: float


def present(clock: Clock) -> Moment:
    """Return the present time."""
    return Moment(clock.monotonic(), clock.now())


class BearerToken:
    """A syntactically valid bearer token (RFC 6750, section 2.1). Its repr does not show it, so no log can.

    `digest` is its key in the verdict cache if the cache was just searched without success, else empty. With `padded`,
    the segments of a JWT may have base64url padding, as in a header of a source that allows it.
    """

    __slots__ = ("digest", "padded", "text")

    def __init__(self, text: str, digest: bytes = b"", *, padded: bool = False) -> None:
        self.text = text
        self.digest = digest
        self.padded = padded

    @property
    def cache_key(self) -> bytes:
        """The bytes to identify it by. The same text is another token if padding is allowed, so it has a prefix.

        No header value has a line break, so no other token has these bytes.
        """
        data = self.text.encode("ascii")
        return b"\r\n" + data if self.padded else data

    def __repr__(self) -> str:
        return "BearerToken(…)"


class RevocationHandle:
    """Lets its creator invalidate cached verdicts, for example when a key or a pod is deleted."""

    __slots__ = ("__weakref__", "revoked")

    def __init__(self) -> None:
        self.revoked = False

    def revoke(self) -> None:
        """Invalidate every verdict that holds this handle."""
        self.revoked = True


@value
class ServiceAccount:
    """A Kubernetes ServiceAccount, as its cluster names it."""

    namespace: str
    name: str


@value
class Identity:
    """The sender of a request, named as in kube-apiserver (`user.Info`).

    `extra` is sorted by key. `issuer` is the token's `iss` (empty for a static token), `issuer_name` its configured
    name. `cluster` is the cluster's name, or None for identities of `jwt` issuers. `audiences` are the accepted
    audiences of the token, sorted.
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
    omits_groups: bool = field(default=False, compare=False)
    """Whether no groups are known because the issuer left them out of the token."""

    def extra_value(self, key: str) -> str:
        """Return the first value of an `extra` key, or "" if it has no value."""
        for name, values in self.extra:
            if name == key and values:
                return values[0]
        return ""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """The key that verified a token, for explanations: its id, type and origin."""

    kid: str
    kty: str
    origin: str


@value
class Evidence:
    """What decided about a token: the source, the configured issuer and the key, as far as they are known."""

    source: Source = "none"
    issuer_name: str = ""
    key: KeyInfo | None = None
    _cached: Evidence | None = field(default=None, init=False, compare=False, repr=False)

    def as_cached(self) -> Evidence:
        """Return the evidence of a cached verdict; always the same object, to save memory."""
        if self._cached is None:
            object.__setattr__(self, "_cached", Evidence("cache", self.issuer_name, self.key))
        return self._cached or self


NO_EVIDENCE = Evidence()


class AnswerKey:
    """The key of an answer kept with a verdict. Each instance is a different key."""

    __slots__ = ()


_MAX_MORE_ANSWERS: Final = 64
"""A client can send one token to many endpoints, and their policies can have many rules."""


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
    """The token is valid until `expires_at` (POSIX seconds, leeway included; None if it does not expire)."""

    identity: Identity
    expires_at: float | None
    evidence: Evidence
    handle: RevocationHandle = field(compare=False)
    max_age: float | None = None
    """Seconds until a verdict of TokenReview or introspection must be renewed; None for a verdict of local keys."""
    object_handles: tuple[RevocationHandle, ...] = field(default=(), compare=False)
    """Handles of the pod, account, node or secret that the token is bound to, if they are watched."""
    claims: VerifiedClaims | None = field(default=None, compare=False, repr=False)
    """The token's claims if a policy or a header reads them; None if TokenReview decided."""
    until: float = field(default=inf, compare=False, repr=False)
    """Until when a cache may give it, by the monotonic clock."""


PERSONAL_MARK: Final = "\0" * 256
"""The place of the first personal value in what the tokens of a sender share. No identity contains it."""


class Sender(CacheableVerdict):
    """What tokens of one issuer with the same sender share, and the answers that depend on nothing else.

    Each token also has a few personal values, such as its id. `rebuild` returns an identity like `identity`, which is
    that of any of the tokens, with other personal values. `marks` has a text for each of them, or "" for a value that
    none of the tokens has.
    """

    __slots__ = ("_identity", "_marks", "_rebuild", "issuer", "weight")

    def __init__(
        self,
        issuer: str,
        identity: Identity,
        rebuild: Callable[[Identity, tuple[str, ...]], Identity],
        marks: tuple[str, ...],
        weight: int,
    ) -> None:
        super().__init__()
        self.issuer = issuer
        self.weight = weight
        """The estimated bytes of what the tokens share."""
        self._identity = identity
        self._rebuild = rebuild
        self._marks = marks

    def identity_of(self, personal: bytes) -> Identity:
        """Return the identity of a token by its personal values, separated by spaces."""
        return self._rebuild(self._identity, tuple(personal.decode("ascii").split(" ")))

    def marked(self) -> Identity:
        """Return the identity of a token with the marks as its personal values; the first can be `PERSONAL_MARK`."""
        return self._rebuild(self._identity, self._marks)


class SenderVerdict(Authenticated):
    """The verdict on a token of a known sender. It takes less memory: its identity is made when somebody reads it."""

    __slots__ = ("personal", "sender")

    personal: bytes
    sender: Sender

    def __init__(
        self,
        sender: Sender,
        personal: bytes,
        expires_at: float | None,
        evidence: Evidence,
        handle: RevocationHandle,
        *,
        until: float = inf,
    ) -> None:
        new: Any = self  # the fields are frozen for the type checker
        new._key = new._answer = new._more = None  # noqa: SLF001 - its own
        new.sender = sender
        new.personal = personal
        new.expires_at = expires_at
        new.evidence = evidence
        new.handle = handle
        new.max_age = None
        new.object_handles = ()
        new.claims = None
        new.until = until

    @property
    def identity(self) -> Identity:
        """The identity of the token."""
        return self.sender.identity_of(self.personal)


@value
class Rejected(CacheableVerdict):
    """The token is invalid. Only a `final` one is cached: the result stays the same until `handle` is revoked.

    `remember_for` is how many seconds a cache keeps it if that is longer than usual. `private` is as in `Deny`.
    """

    reason: Reason
    detail: str = ""
    evidence: Evidence = NO_EVIDENCE
    final: bool = True
    handle: RevocationHandle | None = field(default=None, compare=False)
    until: float = field(default=inf, compare=False, repr=False)
    """Until when a cache may give it, by the monotonic clock."""
    remember_for: float = field(default=0.0, compare=False)
    private: str = field(default="", compare=False)


@value
class Unavailable:
    """No verdict or decision is possible now: 503 with a `Retry-After` of `retry_after` seconds; never cached.

    `rule` is as in `Deny`.
    """

    reason: Reason
    detail: str = ""
    retry_after: int = 1
    evidence: Evidence = NO_EVIDENCE
    rule: int | None = None


Verdict = Authenticated | Rejected | Unavailable

T_co = TypeVar("T_co", covariant=True)


@value
class Pending(Generic[T_co]):
    """An outcome that needs I/O: `finish` waits for it."""

    finish: Callable[[], Awaitable[T_co]]


@value
class OriginalRequest:
    """The client's request to the proxy. A field is None if the proxy did not send it, or not unambiguously."""

    method: str | None = None
    path: str | None = None
    """As the client wrote it, without the query."""
    host: str | None = None
    query: str | None = None
    """The text after the first question mark, or ""."""
    preflight: bool = False
    """Whether this is a CORS preflight (Fetch standard)."""
    eager: str | None = None
    """The path with every escape decoded and every segment resolved, if a rule accepts ambiguous paths."""


@value
class Allow:
    """The request is allowed; `identity` is None for an anonymous one. `headers` name the sender to the app."""

    identity: Identity | None
    reason: Literal[Reason.AUTHENTICATED, Reason.ANONYMOUS]
    evidence: Evidence
    headers: Headers
    expires_at: float | None = None
    """When the token expires, as in `Authenticated.expires_at`."""
    rule: int | None = None
    """The index of the policy's rule that decided, or None if the policy's own settings did."""

    def under(self, rule: int | None) -> Allow:
        """Return this decision as one of another rule of the same policy."""
        if rule == self.rule:
            return self
        return Allow(self.identity, self.reason, self.evidence, self.headers, self.expires_at, rule)


@value
class Deny:
    """The request is denied: 401, 403 or 404, depending on its reason. `identity` is set if the token was verified.

    `private` is a further detail for the audit log and for explanations, never for the client. `rule` is as in `Allow`;
    it is also None if no policy was reached.
    """

    reason: Reason
    detail: str
    evidence: Evidence
    identity: Identity | None = None
    private: str = ""
    rule: int | None = None


Decision = Allow | Deny | Unavailable


class RenderedAnswer:
    """Base class of what a server keeps with a verdict instead of the decision: its response, ready to send."""

    __slots__ = ("reason",)
    shareable = False
    """Whether it may be sent for every token of a `Sender`. It then replaces `PERSONAL_MARK` by the token's value."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def under(self, _rule: int | None) -> RenderedAnswer:
        """Return this answer for another rule of the same policy: itself, unless it depends on the rule."""
        return self


Answer = Allow | Deny | RenderedAnswer
"""A decision that is the same for every request with the same verdict and clause, or a server's response for it."""


JSONValue = None | bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"]
"""A parsed JSON value; numbers are finite."""


@value
class UnverifiedClaims:
    """A JWT's payload before its signature is checked. It can select a verifier or reject a token, nothing else."""

    members: Mapping[str, JSONValue]


@value
class VerifiedClaims:
    """A JWT's payload after its signature, times and audience were checked."""

    members: Mapping[str, JSONValue]
