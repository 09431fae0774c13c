"""Several clusters behind one gate: each token goes to its own, and to no other."""

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
    """Two clusters, `here` first; each tells the issuer that it is given, or none."""

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
        """How often each was asked."""
        return self.here.reviews, self.away.reviews

    @property
    def fetches(self) -> tuple[int, int]:
        """How often the keys of each were fetched."""
        return self.here.source.fetches, self.away.source.fetches

    async def verdict(self, text: str) -> Verdict:
        """The verdict on a token."""
        return await finished(self.router.try_verify(BearerToken(text)))


def token(key: SigningKey, issuer: str) -> str:
    """A good token of an issuer."""
    return key.sign(service_account_claims(iss=issuer))


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_goes_to_its_cluster_only(pool: KeyPool, clock: FakeClock, mode: ReviewMode) -> None:
    """The other is neither asked about it nor for its keys, and the identity names the right one."""
    pair = Pair(pool, clock, mode)
    verdict = await pair.verdict(token(pair.away.key, AWAY))

    assert isinstance(verdict, Authenticated)
    assert (verdict.identity.cluster, verdict.evidence.issuer_name) == ("away", "away")
    assert (pair.fetches[0], pair.reviews[0]) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
async def test_another_clusters_key_signs_for_nobody_here(
    pool: KeyPool, clock: FakeClock, mode: ReviewMode
) -> None:
    """Also where the two share a kid: a cluster cannot make tokens of another."""
    pair = Pair(pool, clock, mode)
    await pair.here.keys.refresh()
    verdict = await pair.verdict(token(pair.away.key, HERE))

    assert summary(verdict) == Reason.SIGNATURE_INVALID
    assert pair.reviews == (0, 0)


async def test_an_unknown_key_is_asked_of_its_own_cluster(
    pool: KeyPool, clock: FakeClock, unpublished: SigningKey
) -> None:
    """In mode fallback: the token is shown to one API server only."""
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
async def test_what_names_no_cluster_goes_to_the_one_that_reviews_it(
    pool: KeyPool, clock: FakeClock, kind: str, legacy: tuple[tuple[str, ...], ...], reviews: tuple[int, int]
) -> None:
    """Static and legacy tokens: shown to the cluster that has legacyAudiences, never to two."""
    pair = Pair(pool, clock, legacy=(legacy[0], legacy[1]))
    text = "opaque"
    if kind == "legacy":
        text = pair.away.key.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))
    verdict = await pair.verdict(text)

    assert summary(verdict) == "tokenreview"
    assert pair.reviews == reviews


@pytest.mark.parametrize("kind", ["opaque", "legacy"])
async def test_what_names_no_cluster_is_refused_where_none_reviews_it(
    pool: KeyPool, clock: FakeClock, kind: str
) -> None:
    """And shown to nobody."""
    pair = Pair(pool, clock)
    text = pair.here.key.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))
    verdict = await pair.verdict("opaque" if kind == "opaque" else text)

    assert summary(verdict) == (Reason.TOKEN_OPAQUE if kind == "opaque" else Reason.AUDIENCE_MISMATCH)
    assert (pair.reviews, pair.fetches) == ((0, 0), (0, 0))


def test_two_that_review_such_tokens_are_refused(pool: KeyPool, clock: FakeClock) -> None:
    """A configuration refuses them; so does the router."""
    with pytest.raises(ValueError, match="several clusters review"):
        Pair(pool, clock, legacy=((API_SERVER,), (API_SERVER,)))


async def test_a_cluster_that_is_down_hides_no_other(pool: KeyPool, clock: FakeClock) -> None:
    """A known issuer's tokens do not wait for a cluster that has not told its own yet."""
    pair = Pair(pool, clock, configured=((), (AWAY,)))
    assert isinstance(await pair.verdict(token(pair.away.key, AWAY)), Authenticated)


async def test_a_strangers_token_may_be_that_of_a_cluster_that_has_not_told(
    pool: KeyPool, clock: FakeClock
) -> None:
    """Any cluster whose issuer is unknown could be the token's."""
    pair = Pair(pool, clock, configured=((), ()))
    stranger = token(pair.here.key, "https://stranger.example")
    pair.away.verifier.issuers.learn(AWAY)
    verdict = await pair.verdict(stranger)
    assert verdict == Unavailable(Reason.KEYS_UNAVAILABLE, "the issuer of cluster 'here' is not known yet")

    pair.here.verifier.issuers.learn(HERE)
    assert await pair.verdict(stranger) == Rejected(Reason.ISSUER_UNKNOWN)
    assert pair.reviews == (0, 0)


async def test_of_two_that_name_one_issuer_the_first_has_its_tokens(pool: KeyPool, clock: FakeClock) -> None:
    """Whichever told first: the later one of the file is told apart in its status, and asked about nothing."""
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


async def test_a_configured_issuer_is_nobody_elses(pool: KeyPool, clock: FakeClock) -> None:
    """Whatever an earlier cluster says of itself: it cannot draw another's tokens to it."""
    pair = Pair(pool, clock, configured=((), (AWAY,)))
    pair.here.verifier.issuers.learn(AWAY)

    verdict = await pair.verdict(token(pair.away.key, AWAY))
    assert isinstance(verdict, Authenticated)
    assert verdict.identity.cluster == "away"
    assert not pair.here.verifier.status().usable
    assert pair.away.verifier.issuers.conflict() is None
