"""Cached verdicts: their lifetime, their number, and what removes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from authgate.errors import Reason
from authgate.model import (
    Authenticated,
    BearerToken,
    Evidence,
    Identity,
    KeyInfo,
    Rejected,
    RevocationHandle,
    Unavailable,
    Verdict,
)
from authgate.verify.cache import CacheRules
from authgate.verify.weight import weight_of
from tests.support.clock import START, FakeClock
from tests.support.verifiers import GOOD, Cached, ScriptedVerifier, finished, good

BAD = Rejected(Reason.SIGNATURE_INVALID, "1 key(s) tried", Evidence("jwks", "corp"))
OUTAGE = Unavailable(Reason.REVIEW_UNAVAILABLE)
RULES = CacheRules(max_entries=100, ttl=60, negative_ttl=5)


@pytest.fixture
def inner() -> ScriptedVerifier:
    """The verifier whose verdicts are cached."""
    return ScriptedVerifier()


@pytest.fixture
def cached(inner: ScriptedVerifier, clock: FakeClock) -> Cached:
    """The same verifier behind a cache."""
    return Cached(inner, clock, RULES)


async def ask(cached: Cached, text: str = "token") -> Verdict:
    """Return the verdict on a token."""
    return await cached.ask(text)


async def asked_again(cached: Cached, inner: ScriptedVerifier, text: str = "token") -> bool:
    """Return whether the inner verifier is called for a token now."""
    before = len(inner.asked)
    await ask(cached, text)
    return len(inner.asked) > before


async def test_a_verdict_is_cached(cached: Cached, inner: ScriptedVerifier) -> None:
    """The cached verdict names the cache as its source, and still names issuer and key."""
    inner.verdict = replace(good(), evidence=Evidence("jwks", "corp", KeyInfo("key-1", "RSA", "a test")))
    first, second = await ask(cached), await ask(cached)

    assert first == inner.verdict
    assert isinstance(second, Authenticated)
    assert second.identity == first.identity
    assert second.evidence == Evidence("cache", "corp", KeyInfo("key-1", "RSA", "a test"))
    assert inner.asked == ["token"]


async def test_a_clock_that_is_set_back_ends_rejections(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """A clock that was ahead made valid tokens look expired. A clock that is set forward changes nothing."""
    inner.verdict = Rejected(Reason.TOKEN_EXPIRED, "at noon")
    clock.set_wall(START - 700)
    await ask(cached, "earlier")
    clock.set_wall(START)
    assert not await asked_again(cached, inner, "earlier")
    await ask(cached)
    clock.set_wall(START - 0.5)
    assert not await asked_again(cached, inner)
    clock.set_wall(START - 700)
    await ask(cached, "a new one")
    inner.verdict = good()
    assert await asked_again(cached, inner)
    assert isinstance(await ask(cached, "earlier"), Authenticated)


async def test_a_request_that_begins_to_wait_late_finds_the_verdict(
    cached: Cached, inner: ScriptedVerifier
) -> None:
    """A second request with the same token was pending, and the first one is finished before it waits."""
    inner.held = True
    first, second = (cached.verifier.try_verify(BearerToken("token")) for _ in range(2))
    inner.release()
    assert (await finished(first)).evidence.source == "jwks"
    assert (await finished(second)).evidence.source == "cache"


async def test_other_tokens_have_other_verdicts(cached: Cached, inner: ScriptedVerifier) -> None:
    """Tokens that differ in one character have different verdicts."""
    inner.answers = {"token-a": BAD}
    await ask(cached, "token-a")

    assert isinstance(await ask(cached, "token-b"), Authenticated)
    assert isinstance(await ask(cached, "token-a"), Rejected)
    assert inner.asked == ["token-a", "token-b"]


@pytest.mark.parametrize(
    ("verdict", "life"),
    [
        pytest.param(good(), 60.0, id="ttl"),
        pytest.param(good(expires_at=START + 3600), 60.0, id="ttl before the token's end"),
        pytest.param(good(expires_at=START + 30), 30.0, id="the token's end"),
        pytest.param(BAD, 5.0, id="negative ttl"),
    ],
)
async def test_a_verdict_is_cached_for_the_shortest_of_its_limits(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock, verdict: Verdict, life: float
) -> None:
    """min(ttl, the token's remaining lifetime), to the second. Lookups do not extend it."""
    inner.verdict = verdict
    await ask(cached)
    clock.advance(life / 2)
    assert not await asked_again(cached, inner)
    clock.advance(life / 2 - 0.001)
    assert not await asked_again(cached, inner)
    clock.advance(0.001)
    assert await asked_again(cached, inner)


@pytest.mark.parametrize(
    ("verdict", "life"),
    [
        pytest.param(good(max_age=10), 10.0, id="max age"),
        pytest.param(good(max_age=600), 60.0, id="ttl before max age"),
        pytest.param(good(expires_at=START + 5, max_age=10), 5.0, id="the token's end before max age"),
    ],
)
async def test_a_reviewed_verdict_that_cannot_be_renewed_expires(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock, verdict: Verdict, life: float
) -> None:
    """min(ttl, max age, the token's remaining lifetime), to the second. Failed renewals do not extend it."""
    inner.verdict = verdict
    await ask(cached)
    inner.verdict = OUTAGE
    clock.advance(life - 0.001)
    assert isinstance(await ask(cached), Authenticated)
    clock.advance(0.001)
    assert await ask(cached) == OUTAGE


async def test_the_age_of_a_verdict_starts_when_the_review_is_sent(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """The answer of a slow review may be as old as the request."""
    inner.verdict = good(max_age=10)
    inner.meanwhile = lambda: clock.advance(4)
    await ask(cached)
    inner.meanwhile = lambda: None
    inner.verdict = OUTAGE
    clock.advance(5.999)
    assert isinstance(await ask(cached), Authenticated)
    clock.advance(0.001)
    assert await ask(cached) == OUTAGE


async def test_a_reviewed_verdict_in_use_is_renewed_before_it_expires(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """No request waits for it, only one review is sent, and the new verdict's age starts with that review."""
    inner.verdict = good(max_age=10)
    await ask(cached)
    clock.advance(5.9)
    assert not await asked_again(cached, inner)
    clock.advance(3)
    inner.held = True
    assert [isinstance(await ask(cached), Authenticated) for _ in range(10)] == [True] * 10
    assert len(inner.asked) == 2
    inner.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(5)
    assert not await asked_again(cached, inner)


async def test_a_renewal_that_rejects_the_token_replaces_the_verdict(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """A revoked token is rejected after the first review that rejects it."""
    inner.verdict = good(max_age=10)
    await ask(cached)
    inner.verdict = BAD
    clock.advance(8.9)
    inner.held = True
    await ask(cached)
    inner.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert isinstance(await ask(cached), Rejected)


async def test_a_failed_renewal_is_retried_after_the_servers_pause(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """The next attempt is after `retry_after` seconds, not with the next request."""
    inner.verdict = good(max_age=60)
    await ask(cached)
    inner.verdict = replace(OUTAGE, retry_after=3)
    clock.advance(52)
    inner.held = True
    await ask(cached)
    inner.release()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(2.9)
    assert not await asked_again(cached, inner)
    clock.advance(0.1)
    assert await asked_again(cached, inner)


class CountedTime(float):
    """A time that counts how often it is compared. Times that are computed from it count, too."""

    compared = 0

    def __add__(self, seconds: float) -> CountedTime:
        return CountedTime(float(self) + seconds)

    def __gt__(self, other: float) -> bool:
        CountedTime.compared += 1
        return float(self) > float(other)


async def test_a_lookup_does_not_visit_all_failed_renewals(inner: ScriptedVerifier) -> None:
    """This limits the cost of lookups while the API server answers no review."""
    clock = FakeClock(monotonic=CountedTime(5_000.0))
    cached = Cached(inner, clock, CacheRules(max_entries=20_000, ttl=60))
    inner.verdict = good(max_age=60)
    tokens = [f"token-{number}" for number in range(15_000)]
    for token in tokens:
        await ask(cached, token)
    inner.verdict = OUTAGE
    clock.advance(52)
    CountedTime.compared = 0
    for token in tokens:
        assert isinstance(await ask(cached, token), Authenticated)
    assert len(inner.asked) == 2 * len(tokens)
    # About one visit for each token. If each lookup visited all failed renewals, it would be 100 million.
    assert 1_000 < CountedTime.compared < 10 * len(tokens)


async def test_renewals_are_spread_over_time(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """Tokens that were first seen at the same moment are reviewed again at different times."""
    cached = Cached(inner, clock, CacheRules(max_entries=1000, ttl=60))
    inner.verdict = good(max_age=60)
    tokens = [f"token-{number}" for number in range(200)]
    for token in tokens:
        await ask(cached, token)
    clock.advance(35)
    renewed = []
    for _ in range(17):
        clock.advance(1)
        before = len(inner.asked)
        for token in tokens:
            await ask(cached, token)
        renewed.append(len(inner.asked) - before)
    assert sum(renewed) == len(tokens)
    assert max(renewed) < 40


async def test_a_verifier_can_extend_the_lifetime_of_a_rejection(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """A verifier does so under load, so that the same invalid tokens need no further review."""
    inner.verdict = replace(BAD, remember_for=30)
    await ask(cached)
    clock.advance(29.9)
    assert not await asked_again(cached, inner)
    clock.advance(0.1)
    assert await asked_again(cached, inner)


async def test_rejections_are_not_cached_if_that_is_disabled(
    inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """`negativeTTL: 0s` applies even if a verifier requests a longer lifetime."""
    cached = Cached(inner, clock, CacheRules(negative_ttl=0))
    inner.verdict = replace(BAD, remember_for=30)
    await ask(cached)
    assert await asked_again(cached, inner)


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(Unavailable(Reason.KEYS_UNAVAILABLE), id="keys unavailable"),
        pytest.param(Unavailable(Reason.REVIEW_FORBIDDEN), id="review forbidden"),
        pytest.param(replace(BAD, final=False), id="a refusal that is not final"),
        pytest.param(good(expires_at=START), id="a token at its end"),
        pytest.param(good(max_age=0), id="a verdict without any age"),
    ],
)
async def test_a_verdict_that_may_change_at_once_is_not_cached(
    cached: Cached, inner: ScriptedVerifier, verdict: Verdict
) -> None:
    """It is returned unchanged, and the next request verifies again."""
    inner.verdict = verdict

    assert await ask(cached) == verdict
    assert await asked_again(cached, inner)
    assert len(cached.cache) == 0


async def test_a_ttl_of_zero_disables_the_cache(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """Every request is verified."""
    cached = Cached(inner, clock, CacheRules(100, ttl=0, negative_ttl=0))
    for verdict in (good(), BAD):
        inner.verdict = verdict
        await ask(cached)

    assert len(cached.cache) == 0


@pytest.mark.parametrize("verdict", [good(), replace(BAD, handle=RevocationHandle())], ids=["good", "bad"])
async def test_revoking_a_handle_invalidates_its_verdicts(
    cached: Cached, inner: ScriptedVerifier, verdict: Authenticated | Rejected
) -> None:
    """The verdicts of a removed key or configuration are removed at once."""
    inner.verdict = verdict
    await ask(cached)
    assert not await asked_again(cached, inner)
    assert verdict.handle is not None
    verdict.handle.revoke()

    assert await asked_again(cached, inner)
    assert len(cached.cache) == 0


async def test_a_handle_that_is_revoked_during_verification_prevents_caching(
    cached: Cached, inner: ScriptedVerifier
) -> None:
    """The key was removed while a token was being verified with it."""
    verdict = good()
    inner.verdict = verdict
    inner.meanwhile = verdict.handle.revoke
    await ask(cached)

    assert len(cached.cache) == 0


async def test_setting_the_clock_back_extends_no_verdict(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """The age is measured with the monotonic clock."""
    inner.verdict = good(expires_at=START + 30)
    await ask(cached)
    clock.set_wall(START - 86_400)
    clock.advance(60)

    assert await asked_again(cached, inner)


async def test_setting_the_clock_forward_expires_a_token(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """`exp` is a date, so the wall clock decides."""
    inner.verdict = good(expires_at=START + 3600)
    await ask(cached)
    clock.set_wall(START + 3600)

    assert await asked_again(cached, inner)


async def test_the_least_recently_used_verdict_is_evicted(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """With three entries, a lookup keeps a verdict in the cache."""
    evicted: list[None] = []
    cached = Cached(inner, clock, CacheRules(3), on_eviction=lambda: evicted.append(None))
    for text in ("a", "b", "c", "a", "d"):
        await ask(cached, text)

    assert len(evicted) == 1
    assert [text for text in ("a", "c", "d") if await asked_again(cached, inner, text)] == []
    assert await asked_again(cached, inner, "b")


async def test_the_size_of_the_cache_is_limited(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """A few large verdicts evict many small ones. The most recently used one stays."""
    evicted: list[None] = []
    weight = weight_of(good())
    cached = Cached(inner, clock, CacheRules(max_bytes=3 * weight), on_eviction=lambda: evicted.append(None))
    for text in ("a", "b", "c"):
        await ask(cached, text)
    assert (len(cached.cache), cached.cache.weight, len(evicted)) == (3, 3 * weight, 0)
    groups = tuple(f"group-{number}" for number in range(weight // 150))
    inner.verdict = replace(good(), identity=Identity("user-2", groups=groups))
    await ask(cached, "heavy")

    assert cached.cache.weight <= 3 * weight
    assert len(evicted) == 2
    assert not await asked_again(cached, inner, "heavy")


async def test_a_verdict_that_is_larger_than_the_cache_is_not_cached(
    inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """It is returned once, and evicts no other verdict."""
    weight = weight_of(good())
    cached = Cached(inner, clock, CacheRules(max_bytes=2 * weight))
    await ask(cached)
    inner.verdict = replace(good(), identity=Identity("user-2", groups=("group",) * weight))
    assert isinstance(await ask(cached, "heavy"), Authenticated)

    assert (len(cached.cache), cached.cache.weight) == (1, weight)
    assert not await asked_again(cached, inner, "token")


async def test_a_removed_verdict_no_longer_counts_in_the_size(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """This holds if it expires and if another verdict replaces it."""
    await ask(cached)
    inner.verdict = BAD
    clock.advance(60)
    await ask(cached)
    assert cached.cache.weight == weight_of(BAD)
    inner.verdict = Unavailable(Reason.KEYS_UNAVAILABLE)
    clock.advance(5)
    await ask(cached)

    assert cached.cache.weight == 0


async def test_a_flood_of_invalid_tokens_evicts_no_valid_one(
    inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """Rejections have their own eighth of the entries."""
    evicted: list[None] = []
    cached = Cached(inner, clock, CacheRules(80), on_eviction=lambda: evicted.append(None))
    for number in range(80):
        await ask(cached, f"good-{number}")
    inner.verdict = BAD
    for number in range(1000):
        await ask(cached, f"bad-{number}")

    assert len(cached.cache) == 80 + 10
    assert len(evicted) == 990
    assert not await asked_again(cached, inner, "good-0")
    assert not await asked_again(cached, inner, "bad-999")
    assert await asked_again(cached, inner, "bad-0")


async def test_the_smallest_cache_has_one_entry_for_a_rejection(
    inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """An eighth of one entry is rounded up to one."""
    cached = Cached(inner, clock, CacheRules(1))
    inner.verdict = BAD
    await ask(cached)

    assert not await asked_again(cached, inner)


async def test_an_expired_verdict_is_removed(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """A lookup that finds it removes it."""
    inner.verdict = BAD
    await ask(cached)
    inner.verdict = Unavailable(Reason.KEYS_UNAVAILABLE)
    clock.advance(5)
    await ask(cached)

    assert len(cached.cache) == 0


async def test_new_verdicts_evict_expired_ones(
    cached: Cached, inner: ScriptedVerifier, clock: FakeClock
) -> None:
    """Expired verdicts do not stay until the cache is full: each new verdict evicts up to two of them."""
    for number in range(10):
        await ask(cached, f"old-{number}")
    clock.advance(61)
    for number in range(5):
        await ask(cached, f"new-{number}")
    assert len(cached.cache) == 5


async def test_the_later_of_two_answers_is_cached(cached: Cached, inner: ScriptedVerifier) -> None:
    """Two concurrent requests get different answers. The older acceptance does not replace the newer rejection."""
    inner.held = True
    first = asyncio.create_task(ask(cached))
    await asyncio.sleep(0)
    inner.verdict = BAD
    second = asyncio.create_task(ask(cached))
    await asyncio.sleep(0)
    inner.release()

    assert isinstance(await first, Authenticated)
    assert isinstance(await second, Rejected)
    assert isinstance(await ask(cached), Rejected)
    assert len(cached.cache) == 1


async def test_a_key_is_a_digest_and_never_the_token(cached: Cached, inner: ScriptedVerifier) -> None:
    """It has 16 bytes that mean nothing outside this process, so a memory dump of the keys contains no token."""
    text = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
    inner.answers = {text: BAD}
    await ask(cached, text)
    await ask(cached, "good")
    keys = [*cached.cache._good.verdicts, *cached.cache._bad.verdicts]

    assert [len(key) for key in keys] == [16, 16]
    assert not any(part.encode() in key for key in keys for part in (text, *text.split("."), "good"))
    assert all(text not in repr(entry) for entry in cached.cache._bad.verdicts.values())


async def test_two_caches_share_no_keys(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """Each has its own secret, so nobody else can compute a digest."""
    caches = [Cached(inner, clock, RULES) for _ in range(2)]
    for cached in caches:
        await ask(cached)

    assert not set(caches[0].cache._good.verdicts) & set(caches[1].cache._good.verdicts)


async def test_lookups_are_counted(inner: ScriptedVerifier, clock: FakeClock) -> None:
    """Each lookup is one hit or one miss."""
    results: list[str] = []
    count = {name: partial(results.append, name) for name in ("hit", "miss")}
    cached = Cached(inner, clock, RULES, on_hit=count["hit"], on_miss=count["miss"])
    for text in ("a", "a", "b", "a"):
        await ask(cached, text)

    assert results == ["miss", "hit", "miss", "hit"]


async def test_the_original_verdict_is_not_changed(cached: Cached, inner: ScriptedVerifier) -> None:
    """The first caller gets the original verdict, not the cached copy."""
    first = await ask(cached)
    await ask(cached)

    assert first is GOOD
    assert GOOD.evidence.source == "jwks"
