"""A cluster key that is replaced under the same kid: its tokens are accepted at once, and forged ones not reviewed."""

from __future__ import annotations

import pytest

from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.verify.cluster import ReviewMode
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import FakeClock
from tests.support.cluster_scene import API_SERVER, MODES, Cluster, summary
from tests.support.key_pool import KeyPool
from tests.support.tokens import service_account_claims

LEGACY = service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT)


@pytest.fixture
def new_key(pool: KeyPool) -> SigningKey:
    """Another key with the kid of the key that was published before."""
    return pool.key("RS256", 1, kid="key-1")


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_of_a_replaced_key_is_accepted_at_once(
    key: SigningKey, new_key: SigningKey, clock: FakeClock, mode: ReviewMode
) -> None:
    """The keys are fetched again. TokenReview is sent only in mode always."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()
    cluster.source.keys = (new_key,)
    verdict = await cluster.verdict(new_key.sign(service_account_claims()))

    assert summary(verdict) == ("tokenreview" if mode == "always" else "jwks")
    assert cluster.reviews == (mode == "always")


@pytest.mark.parametrize(
    ("mode", "claims", "legacy"),
    [
        *(pytest.param(mode, service_account_claims(), (), id=f"bound, {mode}") for mode in MODES),
        pytest.param("fallback", LEGACY, (API_SERVER,), id="legacy, fallback"),
        pytest.param("always", LEGACY, (API_SERVER,), id="legacy, always"),
    ],
)
async def test_forged_tokens_cost_one_fetch_a_minute_and_no_review(
    key: SigningKey,
    new_key: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    claims: JsonObject,
    legacy: tuple[str, ...],
) -> None:
    """The first one causes a fetch of the keys, which shows that it is forged."""
    cluster = Cluster(key, clock, mode, legacy=legacy)
    await cluster.keys.refresh()
    for _ in range(10):
        assert summary(await cluster.verdict(new_key.sign(claims))) == Reason.SIGNATURE_INVALID
        clock.advance(5)

    assert cluster.source.fetches == 2
    assert cluster.reviews == 0


@pytest.mark.parametrize("mode", ["fallback", "always"])
async def test_a_legacy_token_of_a_replaced_key_is_reviewed(
    key: SigningKey, new_key: SigningKey, clock: FakeClock, mode: ReviewMode
) -> None:
    """The keys that were fetched again verify its signature."""
    cluster = Cluster(key, clock, mode, legacy=(API_SERVER,))
    await cluster.keys.refresh()
    cluster.source.keys = (new_key,)

    assert summary(await cluster.verdict(new_key.sign(LEGACY))) == "tokenreview"
    assert cluster.source.fetches == 2


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [("never", Reason.KEY_PENDING), ("fallback", "tokenreview"), ("always", "tokenreview")],
)
async def test_a_new_kid_within_the_cooldown_is_pending_only_without_reviews(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock, mode: ReviewMode, outcome: str
) -> None:
    """TokenReview answers earlier than the next fetch."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()

    assert summary(await cluster.verdict(unpublished.sign(service_account_claims()))) == outcome
    assert cluster.source.fetches == 1


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [("never", Reason.KEYS_UNAVAILABLE), ("fallback", "tokenreview"), ("always", "tokenreview")],
)
async def test_while_keys_cannot_be_fetched_a_replaced_key_is_reviewed(
    key: SigningKey, new_key: SigningKey, clock: FakeClock, mode: ReviewMode, outcome: str
) -> None:
    """The keys in memory may be old; the API server has the current ones."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()
    cluster.source.error = "down"

    assert summary(await cluster.verdict(new_key.sign(service_account_claims()))) == outcome
