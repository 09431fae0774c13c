"""The local check of one issuer's tokens: key, signature, time, audience, identity, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from authgate.errors import Reason
from authgate.keys.key_set import KeyMismatch, KeysFound, KeysUnavailable, KeyUnknown
from authgate.model import (
    Authenticated,
    Evidence,
    Identity,
    Pending,
    Rejected,
    Unavailable,
    Verdict,
    VerifiedClaims,
)
from authgate.verify.claims import check_time

if TYPE_CHECKING:
    from authgate.keys.jwk import VerificationKey
    from authgate.keys.key_set import KeySet, KeyStatus
    from authgate.model import Clock, Lease
    from authgate.verify.claims import TimeRules
    from authgate.verify.compact import UnverifiedToken


class Identify(Protocol):
    """Names the sender of a token whose signature, time and audience hold."""

    def __call__(
        self, claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...]
    ) -> Identity | Rejected:
        """Return the identity, or why the claims give none."""
        ...


@dataclass(frozen=True, slots=True)
class IssuerRules:
    """What an issuer's tokens must be; `types` as `normalise_type` gives them."""

    name: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str]
    time: TimeRules


@dataclass(frozen=True, slots=True)
class Unresolved:
    """No key in memory fits; all that can be told without one holds, so that looking further is worth its cost."""


class JWTVerifier:
    """Verifies one issuer's tokens with that issuer's keys only."""

    def __init__(self, rules: IssuerRules, keys: KeySet, identify: Identify, clock: Clock) -> None:
        self._rules = rules
        self._keys = keys
        self._identify = identify
        self._clock = clock
        self._no_evidence = Evidence("none", rules.name)

    @property
    def name(self) -> str:
        """The issuer's configured name."""
        return self._rules.name

    def status(self) -> KeyStatus:
        """Tell whether the issuer's keys can decide now."""
        return self._keys.status()

    def end_of(self, token: UnverifiedToken) -> float | None:
        """Return when a verdict on the token ends, leeway included, in POSIX seconds."""
        expires_at = token.registered.expires_at
        return None if expires_at is None else expires_at + self._rules.time.expiry_leeway

    def begin(self, token: UnverifiedToken) -> Verdict | Pending[Verdict]:
        """Return the verdict, or the shared fetch of the issuer's keys to wait for where none in memory fits."""
        verdict = self.verify_locally(token)
        return Pending(lambda: self.resolve(token)) if isinstance(verdict, Unresolved) else verdict

    def verify_locally(self, token: UnverifiedToken) -> Verdict | Unresolved:
        """Return the verdict where memory alone gives one; no I/O.

        Where no key is at hand, time and audience are judged first: a token that is bad anyway costs no fetch and is
        shown to nobody.
        """
        header, rules = token.header, self._rules
        if header.typ is not None and header.typ not in rules.types:
            return self._rejected(Reason.TYPE_NOT_ACCEPTED, f"'{_short(header.typ)}'")
        if header.alg not in rules.algorithms:
            return self._rejected(Reason.ALGORITHM_NOT_ALLOWED, f"'{_short(header.alg)}'")
        match self._keys.find(header.kid, header.alg):
            case KeysFound() as found:
                return self._verify_with(token, found)
            case KeyMismatch(lease=lease):
                return self._mismatch(token, lease)
            case None:
                return self._check_claims(token) or Unresolved()

    async def resolve(self, token: UnverifiedToken) -> Verdict:
        """Return the verdict of an `Unresolved` token after asking the key set to look further."""
        match await self._keys.resolve(token.header.kid, token.header.alg):
            case KeysFound() as found:
                return self._verify_with(token, found)
            case KeyMismatch(lease=lease):
                return self._mismatch(token, lease)
            case KeyUnknown(detail):
                return self._rejected(Reason.KEY_UNKNOWN, detail, final=False)
            case KeysUnavailable(detail, retry_after):
                return Unavailable(Reason.KEYS_UNAVAILABLE, detail, retry_after, self._no_evidence)

    def _verify_with(self, token: UnverifiedToken, found: KeysFound) -> Authenticated | Rejected:
        for key in found.keys:
            if key.verify(token.header.alg, token.signing_input, token.signature):
                return self._verified(token, key)
        evidence = Evidence("jwks", self._rules.name, found.keys[0].info)
        return Rejected(
            Reason.SIGNATURE_INVALID, f"{len(found.keys)} key(s) tried", evidence, lease=found.lease
        )

    def _verified(self, token: UnverifiedToken, key: VerificationKey) -> Authenticated | Rejected:
        evidence = Evidence("jwks", self._rules.name, key.info)
        rejected = self._check_claims(token)
        if rejected is None:
            audiences = self._accepted_audiences(token)
            identity = self._identify(
                VerifiedClaims(token.claims.members), token.registered.issuer, audiences
            )
            if isinstance(identity, Identity):
                return Authenticated(identity, self.end_of(token), evidence, key.lease)
            rejected = identity
        return Rejected(rejected.reason, rejected.detail, evidence, rejected.final, key.lease)

    def _check_claims(self, token: UnverifiedToken) -> Rejected | None:
        rejected = check_time(token.registered, self._rules.time, self._clock.now())
        if rejected is not None:
            return Rejected(rejected.reason, rejected.detail, self._no_evidence, rejected.final)
        if not self._accepted_audiences(token):
            return self._rejected(
                Reason.AUDIENCE_MISMATCH, "" if token.registered.audiences else "it names none"
            )
        return None

    def _accepted_audiences(self, token: UnverifiedToken) -> tuple[str, ...]:
        return tuple(sorted(self._rules.audiences.intersection(token.registered.audiences)))

    def _mismatch(self, token: UnverifiedToken, lease: Lease) -> Rejected:
        detail = f"the key of this kid does not fit '{_short(token.header.alg)}'"
        return Rejected(Reason.ALGORITHM_NOT_ALLOWED, detail, self._no_evidence, lease=lease)

    def _rejected(self, reason: Reason, detail: str, *, final: bool = True) -> Rejected:
        return Rejected(reason, detail, self._no_evidence, final)


def _short(value: str) -> str:
    return "".join(char if char.isprintable() and char.isascii() else "?" for char in value[:32])
