"""Trusted issuers, and the verdicts on their tokens at a fixed time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from authgate.dev.compact import JsonObject, changed
from authgate.errors import Reason
from authgate.keys.algorithms import ALGORITHMS
from authgate.keys.jwk import read_jwk_set
from authgate.keys.key_set import KeysFound, StaticKeySet
from authgate.model import Authenticated, BearerToken, Rejected
from authgate.verify.claims import TimeRules
from authgate.verify.compact import CompactParser
from authgate.verify.jwt import IssuerRules, JWTVerifier
from authgate.verify.mapped import ClaimRules, PrefixedClaim, mapped_identity
from authgate.verify.router import IssuerRouter
from tests.support.verifiers import finished

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.dev.keys import SigningKey
    from authgate.model import Clock, Verdict

ISSUER = "https://issuer.example"
AUDIENCE = "my-audience"
NOW = 1_700_000_000
LEEWAY = 60


@dataclass(frozen=True, slots=True)
class StoppedClock:
    """A clock that always returns the same POSIX time, in seconds."""

    at: float = NOW

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@dataclass(frozen=True, slots=True)
class Trusted:
    """A configured issuer with the JWKs that it publishes."""

    jwks: tuple[Mapping[str, object], ...]
    issuer: str = ISSUER
    audiences: frozenset[str] = frozenset({AUDIENCE})
    algorithms: frozenset[str] = frozenset(ALGORITHMS)
    types: frozenset[str] = frozenset({"jwt", "at+jwt"})

    def verifier(self, clock: Clock) -> JWTVerifier:
        """Return the verifier of its tokens. Their `sub` is the username."""
        rules = IssuerRules(
            name="trusted",
            audiences=self.audiences,
            algorithms=self.algorithms,
            types=self.types,
            time=TimeRules(leeway=LEEWAY, expiry_leeway=0),
        )
        identify = partial(mapped_identity, rules=ClaimRules(PrefixedClaim("sub")), issuer_name="trusted")
        return JWTVerifier(rules, published(*self.jwks), identify, clock)


def published(*jwks: Mapping[str, object]) -> StaticKeySet:
    """Return the key set with these JWKs."""
    return StaticKeySet(read_jwk_set(json.dumps({"keys": jwks}).encode(), "test").keys)


def gate(*issuers: Trusted, clock: Clock | None = None) -> IssuerRouter:
    """Return a verifier that trusts only these issuers."""
    return IssuerRouter({each.issuer: each.verifier(clock or StoppedClock()) for each in issuers})


def trusting(*keys: SigningKey) -> IssuerRouter:
    """Return a verifier that trusts one issuer, which publishes these keys."""
    return gate(Trusted(tuple(key.jwk() for key in keys)))


def claims(changes: Mapping[str, object] | None = None) -> JsonObject:
    """Return the claims of a valid token, with the changes applied (`OMIT` removes a claim)."""
    good = {"iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "exp": NOW + 600, "iat": NOW, "nbf": NOW}
    return changed(good, changes)


async def verify(verifier: IssuerRouter, token: str) -> Verdict:
    """Return the verdict on a token."""
    return await finished(verifier.try_verify(BearerToken(token)))


async def judged(verifier: IssuerRouter, token: str) -> Reason:
    """Return `authenticated`, or the reason why the token is rejected."""
    return reason_of(await verify(verifier, token))


def reason_of(verdict: Verdict) -> Reason:
    """Return the reason of a verdict. It is `authenticated` for an accepted token."""
    return Reason.AUTHENTICATED if isinstance(verdict, Authenticated) else verdict.reason


def jws_accepted(keys: StaticKeySet, text: str) -> bool:
    """Return whether authgate's parser and keys accept a compact JWS with any payload."""
    jws = CompactParser().parse_jws(text)
    if isinstance(jws, Rejected):
        return False
    found = keys.find(jws.header.kid, jws.header.alg)
    return isinstance(found, KeysFound) and any(
        key.verify(jws.header.alg, jws.signing_input, jws.signature) for key in found.keys
    )
