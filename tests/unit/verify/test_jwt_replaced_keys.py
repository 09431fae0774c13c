"""Tokens that the issuer's known keys do not verify: one fetch tells whether it has replaced them."""

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
    """An issuer that signs with one key, and the verifier and cache that have fetched it."""

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
        """Signs with another key from now on, and publishes it under the same kid or again without one."""
        self.key = self.pool.key(algorithm, 3, kid=self.kid)
        self.source.keys = (self.key,)

    def forged(self, changes: JsonObject | None = None) -> str:
        """A token of a key that was never published, under the published kid."""
        return self.pool.key("ES256", 7, kid=self.kid).sign(claims(changes or {}))

    async def verdict(self, text: str) -> Verdict:
        """The verdict, after a fetch where one is needed."""
        return await finished(self.verifier.try_verify(parsed(text)))

    async def cached(self, text: str) -> Verdict:
        """The verdict by way of the cache."""
        return await self.behind_cache.ask(text)


@pytest.fixture
async def issuer(pool: KeyPool, clock: FakeClock) -> Issuer:
    """An issuer whose key is known."""
    issuer = Issuer(pool, clock)
    await issuer.keys.refresh()
    return issuer


def reason(verdict: Verdict) -> Reason | None:
    """Why a token does not pass; None where it does."""
    return None if isinstance(verdict, Authenticated) else verdict.reason


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
@pytest.mark.parametrize("kid", ["key-1", None], ids=["the same kid", "no kid"])
async def test_a_good_token_of_a_replaced_key_passes_at_once(
    pool: KeyPool, clock: FakeClock, kid: str | None, algorithm: str
) -> None:
    """No refresh has to come first, whether the new key is of the same kind or of another."""
    issuer = Issuer(pool, clock, kid)
    await issuer.keys.refresh()
    clock.advance(6)
    issuer.replace_key(algorithm)

    assert reason(await issuer.verdict(issuer.key.sign(claims()))) is None
    assert issuer.source.fetches == 2


async def test_forged_tokens_cost_a_fetch_a_minute(issuer: Issuer) -> None:
    """All of them together; each is refused."""
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
async def test_a_forged_token_that_is_bad_anyway_costs_no_fetch(issuer: Issuer, changes: JsonObject) -> None:
    """No key of the issuer would make it good."""
    assert isinstance(await issuer.verdict(issuer.forged(changes)), Rejected)
    assert issuer.source.fetches == 1


async def test_a_refusal_is_not_remembered_beyond_new_keys(issuer: Issuer) -> None:
    """A token that was refused within the minute passes once any fetch brings its key."""
    assert reason(await issuer.cached(issuer.forged())) is Reason.SIGNATURE_INVALID
    issuer.replace_key()
    token = issuer.key.sign(claims())
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID
    assert not isinstance(issuer.behind_cache.verifier.try_verify(BearerToken(token)), Pending)
    await issuer.keys.refresh()

    assert reason(await issuer.cached(token)) is None


async def test_a_refusal_is_not_remembered_beyond_the_minute(issuer: Issuer) -> None:
    """However long cache.negativeTTL is, the token that was refused starts the next fetch itself."""
    assert reason(await issuer.cached(issuer.forged())) is Reason.SIGNATURE_INVALID
    issuer.replace_key()
    token = issuer.key.sign(claims())
    issuer.clock.advance(58)
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID
    issuer.clock.advance(2)

    assert reason(await issuer.cached(token)) is None


async def test_a_forged_token_that_is_bad_anyway_stays_remembered(issuer: Issuer) -> None:
    """It starts no fetch, so it need not be verified again for one."""
    token = issuer.forged({"aud": "other"})
    await issuer.cached(token)
    issuer.clock.advance(500)

    assert len(issuer.behind_cache.cache) == 1
    assert reason(await issuer.cached(token)) is Reason.SIGNATURE_INVALID


async def test_while_the_issuer_is_down_nobody_is_refused_for_a_replaced_key(issuer: Issuer) -> None:
    """503 and no 401: the key may have been replaced during the outage. Good tokens pass all the same."""
    issuer.source.error = "down"
    good = issuer.key.sign(claims())
    verdict = await issuer.verdict(issuer.forged())

    assert isinstance(verdict, Unavailable)
    assert verdict.reason is Reason.KEYS_UNAVAILABLE
    assert reason(await issuer.verdict(good)) is None


async def test_an_unknown_kid_within_the_cooldown_has_a_reason_of_its_own(issuer: Issuer) -> None:
    """It is no outage, and the answer says when to ask again."""
    verdict = await issuer.verdict(issuer.pool.key("ES256", 1, kid="new").sign(claims()))

    assert isinstance(verdict, Unavailable)
    assert (verdict.reason, verdict.retry_after) == (Reason.KEY_PENDING, 5)
