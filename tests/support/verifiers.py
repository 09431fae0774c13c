"""Verifiers from plain parts, and a scripted one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from authgate.keys.key_set import StaticKeySet
from authgate.model import (
    Authenticated,
    BearerToken,
    Evidence,
    Identity,
    Pending,
    Rejected,
    RenderedAnswer,
    RevocationHandle,
    present,
)
from authgate.policy.conditions import NO_REQUEST
from authgate.verify.cache import CacheRules, CachingVerifier, VerdictCache
from authgate.verify.claims import TimeRules
from authgate.verify.jwt import IssuerRules, JWTVerifier, Unresolved
from authgate.verify.mapped import ClaimRules, PrefixedClaim, mapped_identity
from authgate.verify.router import Verifier
from tests.support.clock import FakeClock
from tests.support.key_sources import document
from tests.support.tokens import AUDIENCE, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.dev.keys import SigningKey
    from authgate.errors import Reason
    from authgate.gate import Gate
    from authgate.keys.key_set import KeySet
    from authgate.model import Allow, Clock, Deny, OriginalRequest, Verdict
    from authgate.policy.rules import Difference

ALL_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)

RULES = IssuerRules(
    name="corp",
    audiences=frozenset({AUDIENCE}),
    algorithms=ALL_ALGORITHMS,
    types=frozenset({"jwt", "at+jwt"}),
    time=TimeRules(leeway=60),
)
"""Rules for tokens of issuer "corp": the audience is `AUDIENCE`, and all algorithms are allowed."""


def issuer_verifier(
    keys: KeySet,
    clock: Clock,
    *,
    rules: IssuerRules = RULES,
    claim_rules: ClaimRules | None = None,
    verify_expired: bool = False,
) -> JWTVerifier:
    """Return the verifier of a `jwt` issuer whose usernames are `sub`."""
    mapping = claim_rules or ClaimRules(PrefixedClaim("sub"))
    identify = partial(mapped_identity, rules=mapping, issuer_name=rules.name)
    return JWTVerifier(rules, keys, identify, clock, verify_expired=verify_expired)


def static(*keys: SigningKey) -> StaticKeySet:
    """Return a key set that never changes."""
    return StaticKeySet(document(*keys).keys)


async def finished(outcome: Verdict | Pending[Verdict]) -> Verdict:
    """Return the verdict; wait for it if it is pending."""
    return await outcome.finish() if isinstance(outcome, Pending) else outcome


def judged(verifier: JWTVerifier, text: str) -> Verdict:
    """Return the verdict, which must not need a fetch."""
    verdict = verifier.verify_locally(parsed(text))
    assert not isinstance(verdict, Unresolved)
    return verdict


def refused(verifier: JWTVerifier, text: str) -> Reason:
    """Return the reason of a rejection, which must not need a fetch."""
    verdict = judged(verifier, text)
    assert isinstance(verdict, Rejected), verdict
    return verdict.reason


class Cached:
    """A verifier behind a cache."""

    def __init__(
        self,
        inner: Verifier,
        clock: Clock,
        rules: CacheRules | None = None,
        *,
        on_hit: Callable[[], None] = lambda: None,
        on_miss: Callable[[], None] = lambda: None,
        on_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        self.cache = VerdictCache(clock, rules or CacheRules(), on_hit=on_hit, on_eviction=on_eviction)
        self.verifier = CachingVerifier(inner, self.cache, clock, on_miss=on_miss)

    async def ask(self, text: str) -> Verdict:
        """Return the verdict on a token."""
        return await finished(self.verifier.try_verify(BearerToken(text)))


class Rendered(RenderedAnswer):
    """A decision in a form that a server can cache."""

    __slots__ = ("decision",)

    def __init__(self, decision: Allow | Deny, policy: str) -> None:
        super().__init__(decision.reason)
        assert policy
        self.decision = decision


def lookup_cached(
    gate: Gate,
    text: str,
    policy: str,
    request: OriginalRequest = NO_REQUEST,
    on_difference: Callable[[Difference], None] | None = None,
) -> Rendered | None:
    """Return the gate's cached answer to a token, or None."""
    assert gate.cache is not None
    digest = gate.cache.digest(text.encode())
    known = gate.answer_known(
        b"",
        digest,
        gate.policies[policy],
        request,
        Rendered,
        at=present(FakeClock()),
        on_difference=on_difference,
    )
    if known is None:
        return None
    assert isinstance(known[0], Rendered)
    return known[0]


GOOD = Authenticated(
    Identity("user-1", audiences=(AUDIENCE,)), None, Evidence("jwks", "corp"), RevocationHandle()
)
"""A verdict that accepts "user-1" and does not expire."""


def good(*, expires_at: float | None = None, max_age: float | None = None) -> Authenticated:
    """Return `GOOD` with an expiry or a maximum age, and with its own handle."""
    return replace(GOOD, expires_at=expires_at, max_age=max_age, handle=RevocationHandle())


class ScriptedVerifier(Verifier):
    """A `Verifier` that returns `answers` by the token's text, by default `verdict`, and records its calls.

    While `held` is True, verdicts are pending. `meanwhile` is called during each call.
    """

    def __init__(self, verdict: Verdict = GOOD) -> None:
        self.verdict = verdict
        self.answers: dict[str, Verdict] = {}
        self.asked: list[str] = []
        self.held = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._released = asyncio.Event()

    def try_verify(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the current scripted verdict."""
        self.asked.append(token.text)
        verdict = self.answers.get(token.text, self.verdict)
        self.meanwhile()
        return Pending(lambda: self._when_released(verdict)) if self.held else verdict

    async def _when_released(self, verdict: Verdict) -> Verdict:
        await self._released.wait()
        return verdict

    def release(self) -> None:
        """Finish the calls that are held."""
        self.held = False
        self._released.set()
