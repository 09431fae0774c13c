"""Verification of tokens by introspection (RFC 7662): opaque ones, and JWTs that could have been revoked."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args

from authgate.errors import Reason
from authgate.keys.key_set import KeyStatus
from authgate.model import (
    Authenticated,
    BearerToken,
    Evidence,
    Identity,
    Pending,
    Rejected,
    RevocationHandle,
    Unavailable,
    Verdict,
    VerifiedClaims,
)
from authgate.verify.budget import shape_of
from authgate.verify.claims import (
    TimeRules,
    audiences_in,
    check_time,
    confirmation,
    read_registered,
    why_no_audience,
)
from authgate.verify.review import Outage
from authgate.verify.token_review import PROBE_TOKEN, TokenChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import TypeAlias

    from authgate.model import Clock, JSONValue
    from authgate.verify.claims import RegisteredClaims
    from authgate.verify.compact import UnverifiedToken
    from authgate.verify.jwt import Identify, JWTVerifier

    Answer: TypeAlias = "Mapping[str, JSONValue] | None"
    """The members of the answer about an active token; None for a token that is not active."""

_Budget = Literal["signed", "opaque"]
_TIME: Final = TimeRules()
_CONFIRM_INTERVAL: Final = 1.0
_BEARER_TYPES: Final = frozenset({"bearer", "access_token"})
_BOUND_TYPES: Final = frozenset({"dpop", "pop", "mac"})
_OTHER_USES: Final = {
    "token_use": frozenset({"refresh_token", "id_token"}),
    "typ": frozenset({"refresh", "offline", "id"}),
}
"""Members with which servers mark a token that is active, but not an access token."""


class IntrospectionAPI(Protocol):
    """The introspection endpoint of one authorization server."""

    async def introspect(self, token: str) -> Answer:
        """Return the server's answer about a token; raises `ApiError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Introspector(TokenChecker["Answer"]):
    """Sends introspection requests to one server.

    A server, or a firewall in front of it, can fail for single tokens, and clients choose the tokens. So one failed
    request does not mark a working server as unavailable: a probe must fail, too.
    """

    def __init__(
        self,
        api: IntrospectionAPI,
        clock: Clock,
        *,
        name: str,
        qps: float,
        burst: int,
        on_request: Callable[[str, float], None] = lambda _result, _seconds: None,
        on_state: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        unavailable = Reason.INTROSPECTION_UNAVAILABLE
        super().__init__(
            clock,
            Outage(
                unavailable,
                unavailable,
                Reason.INTROSPECTION_THROTTLED,
                Evidence("introspection", name),
            ),
            budgets=get_args(_Budget),
            qps=qps,
            burst=burst,
            on_review=on_request,
            on_state=on_state,
        )
        self._api = api
        self._confirmation: asyncio.Task[None] | None = None
        self._confirm_at = -math.inf

    async def introspect(self, token: str, budget: _Budget, key: Hashable) -> Answer | Unavailable:
        """Return the server's answer about a token."""
        return await self.check(
            token, (), budget, key, request=lambda: self._api.introspect(token), result_of=_result_of
        )

    async def probe(self) -> None:
        """Introspect an invented token, to find out whether the server answers."""
        await self.introspect(PROBE_TOKEN, "opaque", None)

    def _set_state(self, error: str | None, *, probe: bool) -> None:
        if error is None or self._error is not None or probe:
            super()._set_state(error, probe=probe)
        elif self._confirmation is None or self._confirmation.done():
            self._confirmation = asyncio.create_task(self._confirm())

    async def _confirm(self) -> None:
        """Probe the server, at most once a second."""
        await asyncio.sleep(self._confirm_at - self._clock.monotonic())
        self._confirm_at = self._clock.monotonic() + _CONFIRM_INTERVAL
        await self.probe()

    async def close(self) -> None:
        """Cancel the requests in progress, and close connections."""
        if self._confirmation is not None:
            self._confirmation.cancel()
        await super().close()
        await self._api.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionRules:
    """Which tokens are sent to a server, what its answers must contain, and for how many seconds they are used.

    An answer's `iss`, if it has one, must be `issuer`, unless that is empty.
    """

    name: str
    audiences: frozenset[str]
    audience_claims: tuple[str, ...]
    issuer: str = ""
    prefix: str = ""
    ttl: float = 60.0
    negative_ttl: float = 5.0


class IntrospectionVerifier:
    """Verifies tokens by the answers of one authorization server.

    A JWT that has expired, or that is bound to its sender, is not sent. A verdict is cached until the token expires,
    for at most `ttl`, and renewed before that, as verdicts of TokenReview are.
    """

    def __init__(
        self,
        rules: IntrospectionRules,
        introspector: Introspector,
        identify: Identify,
        clock: Clock,
        *,
        keep_claims: bool = False,
    ) -> None:
        self._rules = rules
        self._introspector = introspector
        self._identify = identify
        self._clock = clock
        self._keep_claims = keep_claims
        self._handle = RevocationHandle()
        self._evidence = Evidence("introspection", rules.name)

    @property
    def name(self) -> str:
        """The server's configured name."""
        return self._rules.name

    @property
    def prefix(self) -> str:
        """The text that opaque tokens for this server begin with; empty for every token."""
        return self._rules.prefix

    def status(self) -> KeyStatus:
        """Return whether the server answers now."""
        usable, detail = self._introspector.status()
        return KeyStatus(usable=usable, detail=detail)

    def saturation(self) -> dict[str, float]:
        """Return the demand for each budget; see `TokenChecker.saturation`."""
        return self._introspector.saturation()

    def inherit(self, other: IntrospectionVerifier) -> None:
        """Adopt what another verifier of the same name knows about recently valid tokens."""
        self._introspector.inherit(other._introspector)

    async def probe(self) -> None:
        """Find out whether the server answers."""
        await self._introspector.probe()

    async def close(self) -> None:
        """Cancel the requests in progress, and close connections."""
        await self._introspector.close()

    def try_verify_opaque(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return a `Pending` that introspects a token that is not a JWT."""
        return Pending(lambda: self._verify(token.text))

    def try_verify(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return a `Pending` that introspects a JWT of the server's issuer, or why it is invalid anyway."""
        evidence = Evidence("none", self._rules.name)
        bound = confirmation(token.claims.members)
        if bound is not None:
            return Rejected(Reason.TOKEN_SENDER_CONSTRAINED, bound, evidence)
        late = check_time(token.registered, _TIME, self._clock.now())
        if late is not None:
            return Rejected(late.reason, late.detail, evidence, late.final)
        return Pending(lambda: self._verify(token.text))

    async def confirm(self, token: UnverifiedToken, verdict: Authenticated) -> Verdict:
        """Return the verdict on a token that local keys accept, if the server reports it as active.

        The identity remains that of the token's own claims. An answer may omit the audience, which the token has.
        """
        asked_at = self._clock.monotonic()
        evidence = Evidence("introspection", verdict.evidence.issuer_name, verdict.evidence.key)
        answer = await self._introspector.introspect(token.text, "signed", verdict.identity.username)
        if isinstance(answer, Unavailable):
            return Unavailable(answer.reason, answer.detail, answer.retry_after, evidence)
        checked = self._check(answer, token.registered.issuer)
        if isinstance(checked, Rejected):
            return self._rejected(checked, asked_at, evidence, verdict.handle)
        members, registered = checked
        if not self._audiences(members) and audiences_in(members, self._rules.audience_claims):
            return self._rejected(Rejected(Reason.AUDIENCE_MISMATCH), asked_at, evidence, verdict.handle)
        ends = [end for end in (verdict.expires_at, registered.expires_at) if end is not None]
        return Authenticated(
            verdict.identity,
            min(ends, default=None),
            evidence,
            verdict.handle,
            self._rules.ttl,
            verdict.object_handles,
            verdict.claims,
        )

    async def _verify(self, text: str) -> Verdict:
        asked_at = self._clock.monotonic()
        answer = await self._introspector.introspect(text, "opaque", shape_of(text))
        if isinstance(answer, Unavailable):
            return answer
        checked = self._check(answer, self._rules.issuer)
        if isinstance(checked, Rejected):
            return self._rejected(checked, asked_at, self._evidence, self._handle)
        members, registered = checked
        audiences, claims = self._audiences(members), VerifiedClaims(members)
        if not audiences:
            detail = why_no_audience(members, self._rules.audience_claims)
            refused = Rejected(Reason.AUDIENCE_MISMATCH, detail)
            return self._rejected(refused, asked_at, self._evidence, self._handle)
        issuer = registered.issuer or self._rules.issuer
        identity = self._identify(claims, issuer, audiences)
        if not isinstance(identity, Identity):
            return self._rejected(identity, asked_at, self._evidence, self._handle)
        kept = claims if self._keep_claims else None
        return Authenticated(
            identity, registered.expires_at, self._evidence, self._handle, self._rules.ttl, claims=kept
        )

    def _audiences(self, members: Mapping[str, JSONValue]) -> tuple[str, ...]:
        named = audiences_in(members, self._rules.audience_claims)
        return tuple(sorted(self._rules.audiences.intersection(named)))

    def _check(
        self, answer: Answer, issuer: str
    ) -> tuple[Mapping[str, JSONValue], RegisteredClaims] | Rejected:
        """Return the claims and the registered claims of an answer, or why the token is rejected."""
        if answer is None:
            return Rejected(Reason.INTROSPECTION_INACTIVE)
        bound = confirmation(answer) or _bound_type(answer)
        if bound is not None:
            return Rejected(Reason.TOKEN_SENDER_CONSTRAINED, bound)
        other = _other_kind(answer)
        if other is not None:
            return Rejected(Reason.TYPE_NOT_ACCEPTED, other)
        # Many servers write null for what they do not know. Without `email_verified` an address counts as verified.
        given = {
            name: value for name, value in answer.items() if value is not None or name == "email_verified"
        }
        registered = read_registered(given, complete=False)
        if isinstance(registered, Rejected):
            return registered
        if issuer and registered.issuer not in ("", issuer):
            return Rejected(Reason.ISSUER_UNKNOWN, "the answer's 'iss' is not the configured issuer")
        late = check_time(registered, _TIME, self._clock.now())
        if late is not None:
            return late
        return given, registered

    def _rejected(
        self, rejected: Rejected, asked_at: float, evidence: Evidence, handle: RevocationHandle
    ) -> Rejected:
        lifetime = self._rules.negative_ttl
        return Rejected(
            rejected.reason,
            rejected.detail,
            evidence,
            rejected.final,
            handle,
            asked_at + lifetime,
            lifetime,
        )


class IntrospectedIssuer:
    """Verifies the JWTs of one issuer with its keys, and then by introspection, because they could be revoked."""

    def __init__(self, local: JWTVerifier, server: IntrospectionVerifier) -> None:
        self._local = local
        self._server = server

    def try_verify(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return why local keys reject the token, or a `Pending` that fetches keys or introspects it."""
        verdict = self._local.try_verify(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, token))
        if isinstance(verdict, Authenticated):
            return Pending(lambda: self._server.confirm(token, verdict))
        return verdict

    async def _finish(self, pending: Pending[Verdict], token: UnverifiedToken) -> Verdict:
        verdict = await pending.finish()
        return await self._server.confirm(token, verdict) if isinstance(verdict, Authenticated) else verdict


def _result_of(answer: Answer) -> tuple[bool, str]:
    return (False, "inactive") if answer is None else (True, "active")


def _bound_type(answer: Mapping[str, JSONValue]) -> str | None:
    """Return that the answer's `token_type` needs a proof of possession, or None."""
    kind = answer.get("token_type")
    bound = isinstance(kind, str) and kind.lower() in _BOUND_TYPES
    return "'token_type' is not Bearer" if bound else None


def _other_kind(answer: Mapping[str, JSONValue]) -> str | None:
    """Return why the answer is not about an access token, such as a refresh token, or None."""
    kind = answer.get("token_type")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _BEARER_TYPES):
        return "'token_type' is not Bearer"
    for member, others in _OTHER_USES.items():
        value = answer.get(member)
        if isinstance(value, str) and value.lower() in others:
            return f"'{member}' is not that of an access token"
    return None
