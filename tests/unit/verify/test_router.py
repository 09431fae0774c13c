"""Which verifier decides on a token: the exact text of its `iss`."""

from __future__ import annotations

import pytest

from authgate.dev.compact import OMIT
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Rejected, Unavailable, Verdict, present
from authgate.verify.cluster_issuers import ClusterIssuers
from authgate.verify.router import IssuerRouter
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import FakeClock
from tests.support.cluster_scene import API_SERVER, Cluster, summary
from tests.support.key_pool import KeyPool
from tests.support.tokens import ISSUER, claims, service_account_claims, unsigned
from tests.support.verifiers import finished, issuer_verifier, static

CORP = "https://corp.example"
OTHER = "https://other.example"


class Discovery:
    """Discovers a cluster's issuer or fails, and counts the calls."""

    def __init__(self, issuers: ClusterIssuers, issuer: str | None) -> None:
        self.issuers = issuers
        self.issuer = issuer
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.issuer is not None:
            self.issuers.learn(self.issuer)


async def route(router: IssuerRouter, text: str) -> Verdict:
    """Return the verdict on a token."""
    return await finished(router.try_verify(BearerToken(text)))


@pytest.fixture
def corp(pool: KeyPool) -> SigningKey:
    """The key of the `jwt` issuer `CORP`."""
    return pool.key("ES256", kid="key-1")


async def test_a_token_is_verified_with_its_issuers_keys(
    pool: KeyPool, corp: SigningKey, clock: FakeClock
) -> None:
    """An issuer's keys verify only its own tokens, even if another issuer uses the same kid."""
    other = pool.key("ES256", 1, kid="key-1")
    router = IssuerRouter(
        {CORP: issuer_verifier(static(corp), clock), OTHER: issuer_verifier(static(other), clock)}
    )

    assert summary(await route(router, corp.sign(claims(iss=CORP)))) == "jwks"
    assert summary(await route(router, other.sign(claims(iss=OTHER)))) == "jwks"
    assert summary(await route(router, corp.sign(claims(iss=OTHER)))) == Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "issuer", [f"{CORP}/", CORP.upper(), f" {CORP}", f"{CORP}#", f"{CORP}:443", "corp.example", OTHER]
)
async def test_an_issuer_is_compared_character_by_character(
    corp: SigningKey, clock: FakeClock, issuer: str
) -> None:
    """RFC 7519, section 4.1.1. URLs are not normalised, and a prefix is not enough."""
    router = IssuerRouter({CORP: issuer_verifier(static(corp), clock)})

    assert await route(router, corp.sign(claims(iss=issuer))) == Rejected(Reason.ISSUER_UNKNOWN)


@pytest.mark.parametrize(
    ("issuer", "shown"),
    [(OTHER, OTHER), ("x" * 200, "x" * 128), ("a\r\n\x00\ud800'b", "a????'b")],
    ids=["URL", "long", "not printable"],
)
async def test_an_unknown_issuer_is_in_the_private_detail_alone(issuer: str, shown: str) -> None:
    """For the audit log, short and printable: the sender chose it."""
    verdict = await route(IssuerRouter({}), unsigned({"alg": "RS256"}, claims(iss=issuer)))
    assert isinstance(verdict, Rejected)
    assert (verdict.detail, verdict.private) == ("", f"'iss' is '{shown}'")


async def test_a_jwt_issuers_token_is_never_reviewed(
    corp: SigningKey, key: SigningKey, unpublished: SigningKey, clock: FakeClock
) -> None:
    """No token of such an issuer is sent to the cluster: valid, forged, with an unknown key, or without audience."""
    cluster = Cluster(key, clock, "always", legacy=(API_SERVER,))
    router = IssuerRouter({CORP: issuer_verifier(static(corp), clock)}, [cluster.verifier])
    texts = [
        corp.sign(claims(iss=CORP)),
        unsigned({"alg": "ES256", "kid": "key-1"}, claims(iss=CORP)),
        unpublished.sign(claims(iss=CORP)),
        corp.sign(claims(iss=CORP, aud=OMIT)),
    ]
    verdicts = [summary(await route(router, text)) for text in texts]

    assert verdicts == ["jwks", Reason.SIGNATURE_INVALID, Reason.KEY_UNKNOWN, Reason.AUDIENCE_MISMATCH]
    assert cluster.reviews == 0


async def test_a_jwt_issuer_comes_before_a_cluster_of_the_same_name(
    corp: SigningKey, key: SigningKey, clock: FakeClock
) -> None:
    """`check` rejects such a configuration. If both exist, the token does not become a ServiceAccount."""
    cluster = Cluster(key, clock)
    router = IssuerRouter({ISSUER: issuer_verifier(static(corp), clock)}, [cluster.verifier])
    verdict = await route(router, key.sign(service_account_claims()))

    assert summary(verdict) == Reason.ALGORITHM_NOT_ALLOWED
    assert cluster.reviews == 0


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(unsigned(b"{}", claims()), id="no algorithm"),
        pytest.param(unsigned({"alg": "RS256"}, claims()).rpartition(".")[0], id="no signature segment"),
        pytest.param(unsigned({"alg": "RS256"}, claims())[:30], id="cut off in the header"),
        pytest.param(unsigned({"alg": "RS256"}, claims())[1:], id="without its first character"),
        pytest.param("bearer." + unsigned({"alg": "RS256"}, claims()), id="one segment too many"),
        pytest.param(unsigned(b'\n{ "alg":"RS256"}', claims(exp=OMIT)), id="white space before the header"),
        pytest.param(unsigned({"alg": "RS256"}, claims()).replace("eyJ", "eyJ~", 1), id="damaged header"),
        pytest.param(unsigned({"alg": "dir", "enc": "A128GCM"}, b"\x00") + ".AA.AA", id="encrypted"),
        pytest.param(unsigned({"alg": "RS256"}, b'{"iss":"a","iss":"b"}'), id="member twice"),
        pytest.param(unsigned({"alg": "RS256"}, claims(exp=OMIT)), id="no exp"),
        pytest.param(unsigned({"alg": "RS256", "crit": ["x"]}, claims()), id="crit"),
    ],
)
async def test_a_malformed_token_causes_no_request(key: SigningKey, clock: FakeClock, text: str) -> None:
    """Its structure is checked first: no fetch, no review and no discovery follows."""
    cluster = Cluster(key, clock, "always", legacy=(API_SERVER,))
    discovery = Discovery(cluster.verifier.issuers, None)
    verdict = await route(IssuerRouter({}, [cluster.verifier], discovery), text)

    assert isinstance(verdict, Rejected)
    assert (cluster.reviews, cluster.source.fetches, discovery.asked) == (0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("abc", id="word"),
        pytest.param("abcdef.0123456789abcdef", id="bootstrap token"),
        pytest.param("a.b.c", id="two dots"),
        pytest.param("a..c", id="two dots in a row"),
        pytest.param("a.b.c.d", id="three dots"),
        pytest.param("a.b.c.d.e", id="four dots"),
        pytest.param("eyes.of.tigers", id="begins like base64 of a brace"),
        pytest.param("AAAA.AAAA.AAAA", id="base64url of something else than JSON"),
    ],
)
async def test_a_token_without_a_json_object_is_reviewed_like_opaque_ones(
    key: SigningKey, clock: FakeClock, text: str
) -> None:
    """A static token can contain any number of dots. Without `legacyAudiences` no such token is reviewed."""
    reviewing, other = Cluster(key, clock, "fallback", legacy=(API_SERVER,)), Cluster(key, clock)

    assert isinstance(await route(IssuerRouter({}, [reviewing.verifier]), text), Authenticated)
    assert isinstance(await route(IssuerRouter({}, [other.verifier]), text), Rejected)
    assert (reviewing.reviews, other.reviews) == (1, 0)


@pytest.mark.parametrize("with_cluster", [True, False])
async def test_a_token_for_microsoft_graph_is_recognised_also_with_an_unknown_issuer(
    key: SigningKey, clock: FakeClock, with_cluster: bool
) -> None:
    """Its issuer is that of version 1 tokens, which an entry for version 2 tokens does not name."""
    graph = claims(iss=OTHER, aud="00000003-0000-0000-c000-000000000000")
    home = Cluster(key, clock).verifier
    router = IssuerRouter({}, [home], Discovery(home.issuers, ISSUER)) if with_cluster else IssuerRouter({})
    verdict = await route(router, unsigned({"alg": "RS256", "nonce": "n"}, graph))
    advice = "this token is for Microsoft Graph; request a token for your own API"
    assert verdict == Rejected(Reason.ISSUER_UNKNOWN, advice)


@pytest.mark.parametrize("with_cluster", [True, False])
@pytest.mark.parametrize("text", ["opaque", "eyJhbGciOiJSUzI1NiJ9", "a+/b~_-"])
async def test_an_opaque_token_is_rejected_without_a_parser(
    key: SigningKey, clock: FakeClock, text: str, with_cluster: bool
) -> None:
    """The verdict is that of the parser."""
    router = IssuerRouter({}, [Cluster(key, clock).verifier] if with_cluster else [])

    verdict = router.recognize(text.encode(), b"", present(clock))
    assert verdict is not None
    assert verdict == await route(router, text)


@pytest.mark.parametrize("text", ["", "a=", "a b", "a,b", "a\x01", "é"])
def test_a_text_that_is_no_credential_is_left_to_the_parser(text: str, clock: FakeClock) -> None:
    """Its rejection has another reason."""
    assert IssuerRouter({}).recognize(text.encode(), b"", present(clock)) is None


def test_an_opaque_token_that_is_reviewed_is_left_to_the_cluster(key: SigningKey, clock: FakeClock) -> None:
    """It may be a static token."""
    cluster = Cluster(key, clock, legacy=(API_SERVER,)).verifier

    assert IssuerRouter({}, [cluster]).recognize(b"opaque", b"", present(clock)) is None


async def test_without_a_cluster_an_opaque_token_is_rejected(corp: SigningKey, clock: FakeClock) -> None:
    """No verifier can know it."""
    router = IssuerRouter({CORP: issuer_verifier(static(corp), clock)})

    assert await route(router, "opaque") == Rejected(Reason.TOKEN_OPAQUE, final=False)


@pytest.mark.parametrize(
    ("legacy", "decided", "reviews"),
    [
        pytest.param((), Reason.TOKEN_OPAQUE, 0, id="no legacyAudiences"),
        pytest.param((API_SERVER,), "tokenreview", 1, id="legacyAudiences"),
    ],
)
async def test_an_opaque_token_is_decided_by_the_cluster(
    key: SigningKey, clock: FakeClock, legacy: tuple[str, ...], decided: str, reviews: int
) -> None:
    """This needs `legacyAudiences`."""
    cluster = Cluster(key, clock, legacy=legacy)

    assert summary(await route(IssuerRouter({}, [cluster.verifier]), "opaque")) == decided
    assert cluster.reviews == reviews


@pytest.mark.parametrize(
    ("legacy", "decided", "reviews"),
    [
        pytest.param((), Reason.AUDIENCE_MISMATCH, 0, id="no legacyAudiences"),
        pytest.param((API_SERVER,), "tokenreview", 1, id="legacyAudiences"),
    ],
)
async def test_a_legacy_token_is_decided_by_the_cluster(
    key: SigningKey, clock: FakeClock, legacy: tuple[str, ...], decided: str, reviews: int
) -> None:
    """Its issuer needs no discovery, and cannot be configured for another verifier."""
    cluster = Cluster(key, clock, legacy=legacy)
    discovery = Discovery(cluster.verifier.issuers, None)
    text = key.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))

    assert summary(await route(IssuerRouter({}, [cluster.verifier], discovery), text)) == decided
    assert (cluster.reviews, discovery.asked) == (reviews, 0)


async def test_without_a_cluster_a_legacy_token_has_an_unknown_issuer(
    corp: SigningKey, clock: FakeClock
) -> None:
    """It is rejected like tokens of any other unknown issuer."""
    router = IssuerRouter({CORP: issuer_verifier(static(corp), clock)})
    text = corp.sign(service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT))

    assert await route(router, text) == Rejected(Reason.ISSUER_UNKNOWN)


async def test_a_configured_issuer_of_the_cluster_needs_no_discovery(
    key: SigningKey, clock: FakeClock
) -> None:
    """It is known before the API server has answered."""
    cluster = Cluster(key, clock)
    discovery = Discovery(cluster.verifier.issuers, None)
    verdict = await route(IssuerRouter({}, [cluster.verifier], discovery), key.sign(service_account_claims()))

    assert isinstance(verdict, Authenticated)
    assert discovery.asked == 0


async def test_an_unknown_issuer_causes_the_discovery_of_the_clusters_issuer(
    key: SigningKey, clock: FakeClock
) -> None:
    """The token may be the cluster's. After the discovery succeeds, it is not repeated."""
    cluster = Cluster(key, clock)
    cluster.verifier.issuers = ClusterIssuers(())
    discovery = Discovery(cluster.verifier.issuers, ISSUER)
    router = IssuerRouter({}, [cluster.verifier], discovery)

    assert isinstance(await route(router, key.sign(service_account_claims())), Authenticated)
    assert await route(router, key.sign(service_account_claims(iss=OTHER))) == Rejected(Reason.ISSUER_UNKNOWN)
    assert discovery.asked == 1


@pytest.mark.parametrize("discover", [True, False], ids=["discovery fails", "no discovery"])
async def test_before_discovery_an_unknown_issuer_is_unavailable(
    key: SigningKey, clock: FakeClock, discover: bool
) -> None:
    """While the cluster's issuer is unknown, the token could belong to it."""
    cluster = Cluster(key, clock)
    discovery = Discovery(cluster.verifier.issuers, None) if discover else None
    verdict = await route(
        IssuerRouter({}, [cluster.verifier], discovery), key.sign(service_account_claims(iss=OTHER))
    )

    assert verdict == Unavailable(Reason.KEYS_UNAVAILABLE, "the issuer of cluster 'home' is not known yet")
    assert cluster.reviews == 0
