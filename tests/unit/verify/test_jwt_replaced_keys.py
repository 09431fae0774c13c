"""Tokens that no known key verifies: one fetch shows whether the issuer replaced its keys."""

from __future__ import annotations

import pytest

from authgate.dev.compact import JsonObject
from authgate.errors import Reason
from authgate.keys.remote import RefreshRules, RemoteKeySet
from authgate.model import Authenticated, BearerToken, Pending, Rejected, Unavailable, Verdict
from authgate.verify.cache import CacheRules
from authgate.verify.router import IssuerRouter
from tests.support.clock import START, FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import ScriptedSource
from tests.support.tokens import ISSUER, claims, parsed
from tests.support.verifiers import Cached, finished, issuer_verifier


class Issuer:
    """An issuer with one signing key, and a verifier and a cache that have fetched it."""

    def __init__(self, pool: KeyPool, clock: FakeClock, kid: str | None = "key-1") -> None:
        self.pool = pool
        self.kid = kid
        self.clock = clock
        self.key = pool.key("ES256", 0, kid=kid)
        self.source = ScriptedSource(self.key)
        self.keys = RemoteKeySet(self.source, clock, RefreshRules(cooldown=5))
        self.verifier = issuer_verifier(self.keys, clock)
        router = IssuerRouter({ISSUER: self.verifier}, [])
        self.behind_cache = Cached(router, clock, CacheRules(negative_ttl=600))

    def replace_key(self, algorithm: str = "ES256") -> None:
        """Publish another key with the same kid, or again without one, and sign with it."""
        self.key = self.pool.key(algorithm, 3, kid=self.kid)
        self.source.keys = (self.key,)

    def forged(self, changes: JsonObject | None = None) -> str:
        """Return a token with the published kid, signed with a key that was never published."""
        return self.pool.key("ES256", 7, kid=self.kid).sign(claims(changes or {}))

    async def verdict(self, text: str) -> Verdict:
        """Return the verdict, after a fetch if one is needed."""
        return await finished(self.verifier.try_verify(parsed(text)))

    async def cached(self, text: str) -> Verdict:
        """Return the verdict through the cache."""
        return await self.behind_cache.ask(text)


@pytest.fixture
async def issuer(pool: KeyPool, clock: FakeClock) -> Issuer:
    """An issuer whose key was fetched."""
    issuer = Issuer(pool, clock)
    await issuer.keys.refresh()
    return issuer


def reason(verdict: Verdict) -> Reason | None:
    """Return the reason of a rejection, or None if the token is accepted."""
    return None if isinstance(verdict, Authenticated) else verdict.reason


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
@pytest.mark.parametrize("kid", ["key-1", None], ids=["the same kid", "no kid"])
async def test_a_valid_token_of_a_replaced_key_is_accepted_at_once(
    pool: KeyPool, clock: FakeClock, kid: str | None, algorithm: str
) -> None:
    """No scheduled refresh is needed, even if the new key is of another kind."""
    issuer = Issuer(pool, clock, kid)
    await issuer.keys.refresh()
    clock.advance(6)
    issuer.replace_key(algorithm)

    assert reason(await issuer.verdict(issuer.key.sign(claims()))) is None
    assert issuer.source.fetches == 2


async def test_forged_tokens_cause_one_fetch_a_minute(issuer: Issuer) -> None:
    """All of them share this limit, and each is rejected."""
    for _ in range(100):
        assert reason(await issuer.verdict(issuer.forged())) is Reason.SIGNATURE_INVALID
        issuer.clock.advance(1)

    assert issuer.source.fetches == 1 + 2


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": START - 3600}, id="expired"),
        pytest.param({"nbf": START + 3600}, id="not yet valid"),
        pytest.param({"aud": "other"}, id="another audience"),
    ],
)
async def test_a_forged_token_that_is_invalid_anyway_causes_no_fetch(
    issuer: Issuer, changes: JsonObject
) -> None:
    """No key of the issuer would make it valid."""
    assert isinstance(await issuer.verdict(issuer.forged(changes)), Rejected)
    assert issuer.source.fetches == 1


async def test_a_cached_rejection_ends_with_new_keys(issuer: Issuer) -> None:
    """A token that was rejected is accepted after any fetch brings its key."""
    assert reason(await issuer.cached(issuer.forged())) is Reason.SIGNATURE_INVALID
    issuer.replace_key()
    token = issuer.key.sign(claims())
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID
    assert not isinstance(issuer.behind_cache.verifier.try_verify(BearerToken(token)), Pending)
    await issuer.keys.refresh()

    assert reason(await issuer.cached(token)) is None


async def test_a_cached_rejection_ends_after_a_minute(issuer: Issuer) -> None:
    """The rejected token itself then starts the next fetch, even if cache.negativeTTL is longer."""
    assert reason(await issuer.cached(issuer.forged())) is Reason.SIGNATURE_INVALID
    issuer.replace_key()
    token = issuer.key.sign(claims())
    issuer.clock.advance(58)
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID
    issuer.clock.advance(2)

    assert reason(await issuer.cached(token)) is None


async def test_the_rejection_of_a_forged_token_that_is_invalid_anyway_stays_cached(issuer: Issuer) -> None:
    """It starts no fetch, so it does not need to be verified again."""
    token = issuer.forged({"aud": "other"})
    await issuer.cached(token)
    issuer.clock.advance(500)

    assert len(issuer.behind_cache.cache) == 1
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID


async def test_while_the_issuer_is_down_tokens_of_unknown_keys_are_unavailable(issuer: Issuer) -> None:
    """They get 503 instead of 401, because the key may have been replaced. Tokens of known keys are accepted."""
    issuer.source.error = "down"
    good = issuer.key.sign(claims())
    verdict = await issuer.verdict(issuer.forged())

    assert isinstance(verdict, Unavailable)
    assert verdict.reason is Reason.KEYS_UNAVAILABLE
    assert reason(await issuer.verdict(good)) is None


async def test_an_unknown_kid_within_the_cooldown_has_a_reason_of_its_own(issuer: Issuer) -> None:
    """It is not an outage, and the verdict has a time to retry after."""
    verdict = await issuer.verdict(issuer.pool.key("ES256", 1, kid="new").sign(claims()))

    assert isinstance(verdict, Unavailable)
    assert (verdict.reason, verdict.retry_after) == (Reason.KEY_PENDING, 5)
