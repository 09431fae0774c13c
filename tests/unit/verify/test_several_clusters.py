"""Several clusters: each token is decided by its own cluster and by no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import OMIT
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Rejected, Unavailable, Verdict
from authgate.verify.cluster_issuers import ClusterIssuers
from authgate.verify.router import IssuerRouter
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import FakeClock
from tests.support.cluster_scene import API_SERVER, MODES, Cluster, summary
from tests.support.key_pool import KeyPool
from tests.support.tokens import service_account_claims
from tests.support.verifiers import finished

if TYPE_CHECKING:
    from authgate.verify.cluster import ReviewMode

HERE, AWAY = "https://here.example", "https://away.example"


class Pair:
    """Two clusters, `here` first. Each discovers the issuer that it is given; None means that discovery fails."""

    def __init__(
        self,
        pool: KeyPool,
        clock: FakeClock,
        mode: ReviewMode = "fallback",
        *,
        configured: tuple[tuple[str, ...], tuple[str, ...]] = ((HERE,), (AWAY,)),
        legacy: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    ) -> None:
        among: list[ClusterIssuers] = []
        keys = pool.key("ES256", kid="key-1"), pool.key("ES256", 1, kid="key-1")
        self.here, self.away = (
            Cluster(
                key, clock, mode, name=name, issuers=ClusterIssuers(issuers, name, among), legacy=reviewed
            )
            for key, name, issuers, reviewed in zip(keys, ("here", "away"), configured, legacy, strict=True)
        )
        self.router = IssuerRouter({}, [self.here.verifier, self.away.verifier])

    @property
    def reviews(self) -> tuple[int, int]:
        """How many reviews each API server got."""
        return self.here.reviews, self.away.reviews

    @property
    def fetches(self) -> tuple[int, int]:
        """How often each cluster's keys were fetched."""
        return self.here.source.fetches, self.away.source.fetches

    async def verdict(self, text: str) -> Verdict:
        """Return the verdict on a token."""
        return await finished(self.router.try_verify(BearerToken(text)))


def token(key: SigningKey, issuer: str) -> str:
    """Return a valid token of an issuer."""
    return key.sign(service_account_claims(iss=issuer))


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_is_decided_by_its_own_cluster(
    pool: KeyPool, clock: FakeClock, mode: ReviewMode
) -> None:
    """The other cluster gets no review and no key fetch, and the identity names the right cluster."""
    pair = Pair(pool, clock, mode)
    verdict = await pair.verdict(token(pair.away.key, AWAY))

    assert isinstance(verdict, Authenticated)
    assert (verdict.identity.cluster, verdict.evidence.issuer_name) == ("away", "away")
    assert (pair.fetches[0], pair.reviews[0]) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_clusters_key_does_not_verify_tokens_of_another(
    pool: KeyPool, clock: FakeClock, mode: ReviewMode
) -> None:
    """This holds even if both use the same kid: a cluster cannot create tokens of another."""
    pair = Pair(pool, clock, mode)
    await pair.here.keys.refresh()
    verdict = await pair.verdict(token(pair.away.key, HERE))

    assert summary(verdict) == Reason.SIGNATURE_INVALID
    assert pair.reviews == (0, 0)


async def test_a_token_with_an_unknown_key_is_reviewed_by_its_own_cluster(
    pool: KeyPool, clock: FakeClock, unpublished: SigningKey
) -> None:
    """In mode fallback, only that API server gets the token."""
    pair = Pair(pool, clock)
    assert summary(await pair.verdict(token(unpublished, AWAY))) == "tokenreview"
    assert pair.reviews == (0, 1)


@pytest.mark.parametrize(
    ("legacy", "reviews"),
    [
        pytest.param(((API_SERVER,), ()), (1, 0), id="first"),
        pytest.param(((), (API_SERVER,)), (0, 1), id="second"),
    ],
)
@pytest.mark.parametrize("kind", ["opaque", "legacy"])
async def test_a_token_without_a_cluster_goes_to_the_cluster_with_legacy_audiences(
    pool: KeyPool, clock: FakeClock, kind: str, legacy: tuple[tuple[str, ...], ...], reviews: tuple[int, int]
) -> None:
    """Static and legacy tokens are never sent to two API servers."""
    pair = Pair(pool, clock, legacy=(legacy[0], legacy[1]))
    text = "opaque"
    if kind == "legacy":
        text = pair.away.key.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))
    verdict = await pair.verdict(text)

    assert summary(verdict) == "tokenreview"
    assert pair.reviews == reviews


@pytest.mark.parametrize("kind", ["opaque", "legacy"])
async def test_a_token_without_a_cluster_is_rejected_without_legacy_audiences(
    pool: KeyPool, clock: FakeClock, kind: str
) -> None:
    """It is sent to no API server."""
    pair = Pair(pool, clock)
    text = pair.here.key.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))
    verdict = await pair.verdict("opaque" if kind == "opaque" else text)

    assert summary(verdict) == (Reason.TOKEN_OPAQUE if kind == "opaque" else Reason.AUDIENCE_MISMATCH)
    assert (pair.reviews, pair.fetches) == ((0, 0), (0, 0))


def test_two_clusters_with_legacy_audiences_are_rejected(pool: KeyPool, clock: FakeClock) -> None:
    """The configuration check rejects them, and so does the router."""
    with pytest.raises(ValueError, match="several clusters review"):
        Pair(pool, clock, legacy=((API_SERVER,), (API_SERVER,)))


async def test_a_cluster_that_is_down_does_not_affect_others(pool: KeyPool, clock: FakeClock) -> None:
    """Tokens of a known issuer do not wait for a cluster whose issuer is still unknown."""
    pair = Pair(pool, clock, configured=((), (AWAY,)))
    assert isinstance(await pair.verdict(token(pair.away.key, AWAY)), Authenticated)


async def test_an_unknown_issuer_may_be_that_of_a_cluster_before_its_discovery(
    pool: KeyPool, clock: FakeClock
) -> None:
    """Any cluster whose issuer is unknown could have issued the token."""
    pair = Pair(pool, clock, configured=((), ()))
    stranger = token(pair.here.key, "https://stranger.example")
    pair.away.verifier.issuers.learn(AWAY)
    verdict = await pair.verdict(stranger)
    assert verdict == Unavailable(Reason.KEYS_UNAVAILABLE, "the issuer of cluster 'here' is not known yet")

    pair.here.verifier.issuers.learn(HERE)
    assert await pair.verdict(stranger) == Rejected(Reason.ISSUER_UNKNOWN)
    assert pair.reviews == (0, 0)


async def test_of_two_clusters_with_one_issuer_the_first_decides(pool: KeyPool, clock: FakeClock) -> None:
    """The order in the file counts, not the order of discovery. The other one's status shows the conflict."""
    pair = Pair(pool, clock, configured=((), ()))
    pair.away.verifier.issuers.learn(HERE)
    pair.here.verifier.issuers.learn(HERE)
    await pair.away.keys.refresh()

    assert summary(await pair.verdict(token(pair.away.key, HERE))) == Reason.SIGNATURE_INVALID
    assert pair.reviews == (0, 0)
    assert pair.here.verifier.issuers.conflict() is None
    state = pair.away.verifier.status()
    assert not state.usable
    assert state.detail.startswith(f"its issuer {HERE} is also the issuer of cluster 'here'")
    await pair.away.verifier.probe()
    assert pair.reviews == (0, 0)


async def test_a_configured_issuer_belongs_to_one_cluster(pool: KeyPool, clock: FakeClock) -> None:
    """Another cluster that discovers the same issuer does not get its tokens."""
    pair = Pair(pool, clock, configured=((), (AWAY,)))
    pair.here.verifier.issuers.learn(AWAY)

    verdict = await pair.verdict(token(pair.away.key, AWAY))
    assert isinstance(verdict, Authenticated)
    assert verdict.identity.cluster == "away"
    assert not pair.here.verifier.status().usable
    assert pair.away.verifier.issuers.conflict() is None
