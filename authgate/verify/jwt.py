"""Local verification of one issuer's tokens: key, times, signature, audience, identity, in this order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from authgate.errors import Reason
from authgate.keys.key_set import KeyMismatch, KeyPending, KeysFound, KeysUnavailable, KeyUnknown
from authgate.model import (
    Authenticated,
    Evidence,
    Identity,
    Pending,
    Rejected,
    SenderVerdict,
    Unavailable,
    Verdict,
    VerifiedClaims,
)
from authgate.text import intern_text
from authgate.verify.claims import AUDIENCE_CLAIMS, audiences_in, check_time, confirmation, why_no_audience
from authgate.verify.compact import padded, why_unverifiable

if TYPE_CHECKING:
    from authgate.keys.jwk import VerificationKey
    from authgate.keys.key_set import KeySet, KeySetDetails, KeyStatus
    from authgate.model import Clock, Moment, RevocationHandle
    from authgate.verify.claims import TimeRules
    from authgate.verify.compact import UnverifiedToken
    from authgate.verify.recognition import IdentityClaims, RecognizedToken


class Identify(Protocol):
    """Maps the claims of a token to an identity, after signature, times and audience were checked."""

    def __call__(
        self, claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...]
    ) -> Identity | Rejected:
        """Return the identity, or why the claims have none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRules:
    """The requirements for an issuer's tokens; `types` are normalised by `normalise_type`.

    Sender-constrained tokens are rejected unless `ignore_confirmation` is set: they are not bearer tokens
    (RFC 9449, section 7.2; RFC 8705, section 3).
    """

    name: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str]
    time: TimeRules
    ignore_confirmation: bool = False
    audience_claims: tuple[str, ...] = AUDIENCE_CLAIMS
    """The claims that name the audience; the first one that a token has counts."""
    by_load_balancer: bool = False
    """Whether AWS load balancers sign the tokens: padded, with the audience in the header's `signer`."""
    first_tenant: str = ""
    """The issuer through which the keys of several tenants are found; empty for a single issuer.

    A key that names another issuer verifies only the tokens of that issuer.
    """


@dataclass(frozen=True, slots=True)
class Unresolved:
    """The keys in memory cannot decide, and every check without a key passed, so a fetch is justified.

    `refused` is the rejection by the keys in memory if the issuer may have replaced them; None if no key matches.
    """

    refused: Rejected | None = None


_REPLACED_KEY = frozenset({Reason.SIGNATURE_INVALID, Reason.ALGORITHM_NOT_ALLOWED})
"""The reasons for which an old key rejects a valid token, if the issuer replaced the key under the same kid."""


class JWTVerifier:
    """Verifies one issuer's tokens with that issuer's keys only.

    With `verify_expired`, it checks the signature also of an expired token, so that an explanation can name the key.
    """

    def __init__(
        self,
        rules: IssuerRules,
        keys: KeySet,
        identify: Identify,
        clock: Clock,
        *,
        keep_claims: bool = False,
        verify_expired: bool = False,
        identity_claims: IdentityClaims | None = None,
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._identify = identify
        self._clock = clock
        self._keep_claims = keep_claims
        self._verify_expired = verify_expired
        self._no_evidence = Evidence("none", rules.name)
        recognizes = identity_claims is not None and not (
            keep_claims or verify_expired or rules.by_load_balancer or rules.first_tenant
        )
        self.identity_claims = (
            identity_claims.with_audiences(rules.audience_claims)
            if recognizes and identity_claims is not None
            else None
        )
        """The claims that its identities depend on, or None if `verify_recognized` must not be used."""
        usual = rules.audience_claims == AUDIENCE_CLAIMS
        self._audience_claims = AUDIENCE_CLAIMS if usual else rules.audience_claims
        self._single_audience = {audience: (audience,) for audience in rules.audiences}
        self._last_key: VerificationKey | None = None
        self._last_evidence = self._no_evidence
        self._last_forged: Rejected | None = None

    @property
    def name(self) -> str:
        """The issuer's configured name."""
        return self._rules.name

    @property
    def kids(self) -> frozenset[str]:
        """The ids of the issuer's keys in memory."""
        return self._keys.kids

    async def close(self) -> None:
        """End the fetches of keys under way."""
        await self._keys.close()

    def status(self) -> KeyStatus:
        """Return whether the issuer's keys can be used now."""
        return self._keys.status()

    def details(self) -> KeySetDetails:
        """Return the issuer's keys and the times of fetches."""
        return self._keys.details()

    def expiry_of(self, token: UnverifiedToken) -> float | None:
        """Return when the token expires, leeway included, in POSIX seconds, or None."""
        expires_at = token.registered.expires_at
        return None if expires_at is None else expires_at + self._rules.time.expiry_leeway

    def try_verify(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return the verdict, or a `Pending` that fetches the issuer's keys if no key in memory matches."""
        verdict = self.verify_locally(token)
        return Pending(lambda: self.resolve(token, verdict)) if isinstance(verdict, Unresolved) else verdict

    def verify_recognized(self, token: RecognizedToken, at: Moment) -> Authenticated | Rejected | None:
        """Return the verdict at a time on a token with the sender and header of one that this verifier accepted.

        So its type, algorithm, audience and claims are acceptable. Key, times and signature are checked. The result is
        that of `try_verify`, or None if only that can decide.
        """
        header, rules = token.header, self._rules.time
        found = self._keys.find(header.kid, header.alg)
        if not isinstance(found, KeysFound) or len(found.keys) != 1:
            return None
        now = at.now
        latest = now + rules.leeway
        expires_at, not_before, issued_at = token.expires_at, token.not_before, token.issued_at
        if (
            now >= expires_at + rules.expiry_leeway
            or (not_before is not None and latest < not_before)
            or (issued_at is not None and latest < issued_at)
            or rules.max_lifetime is not None
        ):
            rejected = check_time(token.registered(), rules, now)
            if rejected is not None:
                return Rejected(rejected.reason, rejected.detail, self._no_evidence, rejected.final)
        key = found.keys[0]
        if key.verify(header.alg, token.signing_input, token.signature):
            ends = expires_at + rules.expiry_leeway
            return SenderVerdict(token.sender, token.personal, ends, self._evidence_of(key), key.handle)
        recheck_at = self._keys.recheck_at()
        if recheck_at <= self._clock.monotonic():  # not `at`: it can be the present moment
            return None  # the issuer may have replaced the key
        evidence, handle, forged = self._evidence_of(key), found.handle, self._last_forged
        if (
            forged is None
            or forged.evidence is not evidence
            or forged.handle is not handle
            or forged.until != recheck_at
        ):
            # Alike rejections are one object: it keeps the response for the next forged token.
            forged = Rejected(Reason.SIGNATURE_INVALID, _tried(1), evidence, handle=handle, until=recheck_at)
            self._last_forged = forged
        return forged

    def verify_locally(
        self, token: UnverifiedToken, *, any_audience: bool = False
    ) -> Rejected | Authenticated | Unresolved:
        """Return the verdict without I/O, or `Unresolved`.

        Times are checked before the signature. Before a fetch the audience is checked, too, unless `any_audience`: a
        token that is invalid anyway causes no fetch and no review.
        """
        header, rules = token.header, self._rules
        if header.typ is not None and header.typ not in rules.types:
            return self._rejected(Reason.TYPE_NOT_ACCEPTED, f"'{_short(header.typ)}'")
        bound = None if rules.ignore_confirmation else confirmation(token.claims.members)
        if bound is not None:
            return self._rejected(Reason.TOKEN_SENDER_CONSTRAINED, bound)
        if header.alg not in rules.algorithms:
            return self._rejected(Reason.ALGORITHM_NOT_ALLOWED, f"'{_short(header.alg)}'")
        match self._keys.find(header.kid, header.alg):
            case KeysFound() as found:
                verdict = self._verify_with(token, found)
                if isinstance(verdict, Rejected) and verdict.reason is Reason.SIGNATURE_INVALID:
                    return self._until_recheck(token, verdict, any_audience=any_audience)
                return verdict
            case KeyMismatch(handle=handle):
                return self._until_recheck(token, self._mismatch(token, handle), any_audience=any_audience)
            case None:
                return self._check_claims(token, any_audience=any_audience) or Unresolved()

    async def resolve(
        self, token: UnverifiedToken, unresolved: Unresolved, *, patient: bool = True
    ) -> Verdict:
        """Return the verdict on an `Unresolved` token after a fetch of the keys.

        If `patient`, it may also wait for the key set's next fetch.
        """
        kid, algorithm = token.header.kid, token.header.alg
        if unresolved.refused is not None:
            lookup = await self._keys.recheck(kid, algorithm)
        else:
            lookup = await self._keys.resolve(kid, algorithm, patient=patient)
        match lookup:
            case KeysFound() as found:
                return self._recheckable(self._verify_with(token, found))
            case KeyMismatch(handle=handle):
                return self._recheckable(self._mismatch(token, handle))
            case KeyUnknown(detail):
                return self._rejected(Reason.KEY_UNKNOWN, why_unverifiable(token) or detail, final=False)
            case KeyPending(detail, retry_after):
                return Unavailable(Reason.KEY_PENDING, detail, retry_after, self._no_evidence)
            case KeysUnavailable(detail, retry_after):
                return Unavailable(Reason.KEYS_UNAVAILABLE, detail, retry_after, self._no_evidence)

    def _until_recheck(
        self, token: UnverifiedToken, refused: Rejected, *, any_audience: bool
    ) -> Authenticated | Rejected | Unresolved:
        """Return a rejection by the keys in memory, or `Unresolved` if the keys may be fetched again."""
        if self._check_claims(token, any_audience=any_audience) is not None:
            return refused  # the token is invalid with any key
        if self._keys.recheck_at() <= self._clock.monotonic():
            return Unresolved(refused)
        return self._recheckable(refused)

    def _recheckable(self, verdict: Authenticated | Rejected) -> Authenticated | Rejected:
        """Return the verdict; limit a rejection by keys that may have been replaced to the time of the next recheck."""
        if isinstance(verdict, Rejected) and verdict.reason in _REPLACED_KEY:
            until = max(self._keys.recheck_at(), self._clock.monotonic())
            return Rejected(
                verdict.reason,
                verdict.detail,
                verdict.evidence,
                verdict.final,
                verdict.handle,
                until,
                private=verdict.private,
            )
        return verdict

    def _verify_with(self, token: UnverifiedToken, found: KeysFound) -> Authenticated | Rejected:
        rejected = self._check_time(token)  # cheaper than a signature
        if rejected is not None and not self._verify_expired:
            return rejected
        signing_input = token.signing_input
        if self._rules.by_load_balancer:
            signing_input = padded(signing_input)
        first_tenant, issuer = self._rules.first_tenant, token.registered.issuer
        foreign = False
        for key in found.keys:
            if first_tenant and key.issuer and key.issuer not in (issuer, first_tenant):
                foreign = True
            elif key.verify(token.header.alg, signing_input, token.signature):
                if rejected is not None:
                    return replace(rejected, evidence=self._evidence_of(key), handle=key.handle)
                return self._verified(token, key)
        if rejected is not None:
            return rejected
        return Rejected(
            Reason.SIGNATURE_INVALID,
            why_unverifiable(token)
            or ("the key is for another tenant" if foreign else _tried(len(found.keys))),
            self._evidence_of(found.keys[0]),
            handle=found.handle,
        )

    def _verified(self, token: UnverifiedToken, key: VerificationKey) -> Authenticated | Rejected:
        evidence = self._evidence_of(key)
        audiences = self._accepted_audiences(token)
        if not audiences:
            rejected = self._no_audience(token, evidence)
        else:
            claims = VerifiedClaims(token.claims.members)
            identity = self._identify(claims, intern_text(token.registered.issuer), audiences)
            if isinstance(identity, Identity):
                kept = claims if self._keep_claims else None
                return Authenticated(identity, self.expiry_of(token), evidence, key.handle, claims=kept)
            rejected = identity
        return Rejected(rejected.reason, rejected.detail, evidence, rejected.final, key.handle)

    def _evidence_of(self, key: VerificationKey) -> Evidence:
        """Return the evidence for a key; the last one is reused, because nearly always the same key decides."""
        if key is not self._last_key:
            self._last_key, self._last_evidence = key, Evidence("jwks", self._rules.name, key.info)
        return self._last_evidence

    def _check_time(self, token: UnverifiedToken) -> Rejected | None:
        rejected = check_time(token.registered, self._rules.time, self._clock.now())
        if rejected is None:
            return None
        return Rejected(rejected.reason, rejected.detail, self._no_evidence, rejected.final)

    def _check_claims(self, token: UnverifiedToken, *, any_audience: bool) -> Rejected | None:
        rejected = self._check_time(token)
        if rejected is None and not any_audience and not self._accepted_audiences(token):
            return self._no_audience(token, self._no_evidence)
        return rejected

    def _accepted_audiences(self, token: UnverifiedToken) -> tuple[str, ...]:
        named = token.registered.audiences
        if self._rules.by_load_balancer:
            named = () if token.header.signer is None else (token.header.signer,)
        elif self._audience_claims is not AUDIENCE_CLAIMS:
            named = audiences_in(token.claims.members, self._audience_claims)
        if len(named) == 1:
            return self._single_audience.get(named[0], ())
        return tuple(sorted(self._rules.audiences.intersection(named)))

    def _mismatch(self, token: UnverifiedToken, handle: RevocationHandle) -> Rejected:
        detail = f"the key with this kid is not for '{_short(token.header.alg)}'"
        return Rejected(Reason.ALGORITHM_NOT_ALLOWED, detail, self._no_evidence, handle=handle)

    def _no_audience(self, token: UnverifiedToken, evidence: Evidence) -> Rejected:
        detail = why_unverifiable(token) or why_no_audience(token.claims.members, self._audience_claims)
        if self._rules.by_load_balancer:
            detail = "" if token.header.signer else "it has no `signer` in its header"
        return Rejected(Reason.AUDIENCE_MISMATCH, detail, evidence)

    def _rejected(self, reason: Reason, detail: str, *, final: bool = True) -> Rejected:
        return Rejected(reason, detail, self._no_evidence, final)


def _tried(keys: int) -> str:
    return f"{keys} key(s) tried"


def _short(value: str) -> str:
    return "".join(char if char.isprintable() and char.isascii() else "?" for char in value[:32])
