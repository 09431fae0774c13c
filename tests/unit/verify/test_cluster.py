"""The tokens of a cluster: which are decided by local keys, when TokenReview is asked, and when never."""

from __future__ import annotations

import math

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind, ReviewedUser
from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, Evidence, Rejected, Unavailable
from authgate.verify.cluster import ReviewMode
from authgate.verify.cluster_issuers import ClusterIssuers
from tests.support.clock import START, FakeClock
from tests.support.cluster_scene import API_SERVER, MODES, Cluster, summary
from tests.support.in_memory_cluster import REFUSED, reviewed
from tests.support.key_pool import KeyPool
from tests.support.tokens import service_account_claims

ALWAYS_BAD: dict[str, tuple[Reason, JsonObject, JsonObject]] = {
    "another type": (Reason.TYPE_NOT_ACCEPTED, {"typ": "logout+jwt"}, {}),
    "bound to its sender": (Reason.TOKEN_SENDER_CONSTRAINED, {}, {"cnf": {"jkt": "x"}}),
    "algorithm not allowed": (Reason.ALGORITHM_NOT_ALLOWED, {"alg": "HS256"}, {}),
    "unsigned": (Reason.ALGORITHM_NOT_ALLOWED, {"alg": "none"}, {}),
    "expired": (Reason.TOKEN_EXPIRED, {}, {"exp": START - 60}),
    "not yet valid": (Reason.TOKEN_NOT_YET_VALID, {}, {"nbf": START + 61}),
    "issued in the future": (Reason.TOKEN_NOT_YET_VALID, {}, {"iat": START + 61}),
    "another audience": (Reason.AUDIENCE_MISMATCH, {}, {"aud": ["other", API_SERVER]}),
    "no audience": (Reason.AUDIENCE_MISMATCH, {}, {"aud": OMIT}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", ALWAYS_BAD)
@pytest.mark.parametrize("keys", ["at hand", "not fetched", "unknown", "unavailable"])
async def test_a_token_that_is_known_to_be_bad_is_shown_to_nobody(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock, mode: ReviewMode, bad: str, keys: str
) -> None:
    """Whatever the mode and wherever its key is: TokenReview would say yes here, and is not asked."""
    reason, headers, changes = ALWAYS_BAD[bad]
    cluster = Cluster(key, clock, mode)
    if keys == "unavailable":
        cluster.source.error = "down"
    if keys != "not fetched":
        await cluster.keys.refresh()
    signing = unpublished if keys == "unknown" else key
    verdict = await cluster.verdict(signing.sign(service_account_claims(**changes), headers))

    assert summary(verdict) == reason
    assert cluster.reviews == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("index", "changes", "reason"),
    [
        pytest.param(1, {}, Reason.SIGNATURE_INVALID, id="forged"),
        pytest.param(1, {"exp": START - 60}, Reason.TOKEN_EXPIRED, id="forged and expired"),
        pytest.param(0, {"kubernetes.io": OMIT}, Reason.IDENTITY_INVALID, id="of nobody"),
    ],
)
async def test_a_token_that_a_key_at_hand_refuses_is_shown_to_nobody(
    pool: KeyPool,
    key: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    index: int,
    changes: JsonObject,
    reason: Reason,
) -> None:
    """It ended or its signature is known bad, or what it signs names no account."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()
    verdict = await cluster.verdict(
        pool.key("RS256", index, kid="key-1").sign(service_account_claims(**changes))
    )

    assert summary(verdict) == reason
    assert cluster.reviews == 0


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_that_does_not_fit_the_algorithm_is_no_reason_to_ask(
    pool: KeyPool, key: SigningKey, clock: FakeClock, mode: ReviewMode
) -> None:
    """An algorithm confusion is known bad, too."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()
    verdict = await cluster.verdict(pool.key("ES256", kid="key-1").sign(service_account_claims()))

    assert summary(verdict) == Reason.ALGORITHM_NOT_ALLOWED
    assert cluster.reviews == 0


@pytest.mark.parametrize(
    ("mode", "known", "decided", "reviews"),
    [
        pytest.param("never", "published", "jwks", 0, id="never, key published"),
        pytest.param("never", "unknown", Reason.KEY_UNKNOWN, 0, id="never, key unknown"),
        pytest.param("never", "unavailable", Reason.KEYS_UNAVAILABLE, 0, id="never, keys unavailable"),
        pytest.param("fallback", "published", "jwks", 0, id="fallback, key published"),
        pytest.param("fallback", "unknown", "tokenreview", 1, id="fallback, key unknown"),
        pytest.param("fallback", "unavailable", "tokenreview", 1, id="fallback, keys unavailable"),
        pytest.param("always", "published", "tokenreview", 1, id="always, key published"),
        pytest.param("always", "unknown", "tokenreview", 1, id="always, key unknown"),
        pytest.param("always", "unavailable", "tokenreview", 1, id="always, keys unavailable"),
    ],
)
async def test_a_token_that_may_be_good_is_reviewed_where_keys_cannot_or_must_not_decide_alone(
    key: SigningKey,
    unpublished: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    known: str,
    decided: str,
    reviews: int,
) -> None:
    """Each mode, and each way in which a key may be missing; the keys have not been fetched before."""
    cluster = Cluster(key, clock, mode)
    if known == "unavailable":
        cluster.source.error = "down"
    signing = unpublished if known == "unknown" else key

    for _ in range(2):  # once with a fetch, and once more from memory
        before = cluster.reviews
        assert summary(await cluster.verdict(signing.sign(service_account_claims()))) == decided
        assert cluster.reviews - before == reviews


async def test_with_always_a_missing_key_costs_no_fetch(key: SigningKey, clock: FakeClock) -> None:
    """The review decides in any case."""
    cluster = Cluster(key, clock, "always")
    await cluster.verdict(key.sign(service_account_claims()))

    assert (cluster.reviews, cluster.source.fetches) == (1, 0)


@pytest.mark.parametrize("fetched", [True, False], ids=["key at hand", "no key"])
async def test_with_always_a_no_of_the_cluster_decides(
    key: SigningKey, clock: FakeClock, fetched: bool
) -> None:
    """A pod that was deleted has a token whose signature still holds."""
    cluster = Cluster(key, clock, "always")
    cluster.api.otherwise = REFUSED
    if fetched:
        await cluster.keys.refresh()
    verdict = await cluster.verdict(key.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.REVIEW_REJECTED, "invalid bearer token")
    assert verdict.evidence == Evidence("tokenreview", "home")
    assert verdict.final
    assert verdict.handle is cluster.handle


@pytest.mark.parametrize("kind", ApiErrorKind)
async def test_an_error_of_the_api_is_no_refusal(
    key: SigningKey, clock: FakeClock, kind: ApiErrorKind
) -> None:
    """Neither of a token that the keys would let in (mode always) nor of one they do not know."""
    cluster = Cluster(key, clock, "always")
    cluster.api.otherwise = ApiError(kind, "no")
    await cluster.keys.refresh()
    verdict = await cluster.verdict(key.sign(service_account_claims()))

    assert isinstance(verdict, Unavailable)
    assert verdict.detail == f"{kind.value}: no"


@pytest.mark.parametrize(
    ("mode", "max_age"),
    [pytest.param("fallback", math.inf, id="fallback"), pytest.param("always", 30, id="always")],
)
async def test_only_with_always_does_a_verdict_age(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock, mode: ReviewMode, max_age: float | None
) -> None:
    """`maxAge` bounds how long a yes of TokenReview holds; the token's end, leeway included, bounds it anyway."""
    cluster = Cluster(key, clock, mode)
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.max_age == max_age
    assert verdict.expires_at == START + 3600 + 60
    assert verdict.handle is cluster.handle


async def test_a_review_names_all_audiences_of_the_configuration(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock
) -> None:
    """`spec.audiences` is never empty, and never what the token says of itself."""
    cluster = Cluster(key, clock, audiences=("b", "a"))
    cluster.api.otherwise = reviewed(audiences=("a", "b", "more"))
    text = unpublished.sign(service_account_claims(aud=["b", "x"]))
    verdict = await cluster.verdict(text)

    assert cluster.api.reviewed == [(text, ("b", "a"))]
    assert isinstance(verdict, Authenticated)
    assert verdict.identity.audiences == ("a", "b")


@pytest.mark.parametrize(
    "audiences", [(), ("other",), ("MY-AUDIENCE",)], ids=["none", "another", "another case"]
)
async def test_a_yes_for_other_audiences_is_a_no(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock, audiences: tuple[str, ...]
) -> None:
    """`status.audiences` must intersect: a server that knows no audiences answers without them."""
    cluster = Cluster(key, clock)
    cluster.api.otherwise = reviewed(audiences=audiences)
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (
        Reason.AUDIENCE_MISMATCH,
        "TokenReview returned no accepted audience",
    )
    assert verdict.handle is cluster.handle


async def test_the_anonymous_user_is_nobody(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock
) -> None:
    """An API server that serves anonymous requests says yes to what it takes for no credential at all."""
    cluster = Cluster(key, clock)
    cluster.api.otherwise = reviewed("system:anonymous")
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (
        Reason.REVIEW_REJECTED,
        "TokenReview returned system:anonymous",
    )


async def test_keys_and_review_give_the_identical_identity(key: SigningKey, clock: FakeClock) -> None:
    """The same token, decided by either: the app cannot tell which, whatever the order of its audiences."""
    claims = service_account_claims(aud=["b", "a", "x", "a"])
    by_keys = await Cluster(key, clock, audiences=("a", "b")).verdict(key.sign(claims))
    assert isinstance(by_keys, Authenticated)
    local = by_keys.identity

    cluster = Cluster(key, clock, "always", audiences=("b", "a"))
    cluster.api.otherwise = ReviewedUser(local.username, local.uid, local.groups, local.extra, ("b", "a"))
    by_review = await cluster.verdict(key.sign(claims))

    assert isinstance(by_review, Authenticated)
    assert by_review.identity == local


@pytest.mark.parametrize(("mode", "probes"), [("never", 0), ("fallback", 1), ("always", 1)])
async def test_a_cluster_is_probed_where_a_verdict_may_rest_on_it(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, probes: int
) -> None:
    """With the audiences of the configuration."""
    cluster = Cluster(key, clock, mode)
    await cluster.verifier.probe()

    assert cluster.api.reviewed == [("authgate-readiness-probe", ("my-audience",))] * probes
    await cluster.verifier.close()


@pytest.mark.parametrize(
    ("mode", "keys", "reviews", "issuers", "usable"),
    [
        ("never", True, None, True, True),
        ("never", False, True, True, False),
        ("fallback", True, None, True, True),
        ("fallback", False, None, True, False),
        ("fallback", False, False, True, False),
        ("fallback", False, True, True, True),
        ("fallback", False, True, False, False),
        ("always", True, None, True, False),
        ("always", True, False, True, False),
        ("always", True, True, True, True),
        ("always", False, True, True, True),
    ],
)
async def test_a_cluster_is_ready_when_it_can_decide(
    key: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    keys: bool,
    reviews: bool | None,
    issuers: bool,
    usable: bool,
) -> None:
    """By keys, or by a TokenReview that answers for tokens which are known to be the cluster's."""
    cluster = Cluster(key, clock, mode)
    if keys:
        await cluster.keys.refresh()
    if reviews is not None:
        if not reviews:
            cluster.api.otherwise = ApiError(ApiErrorKind.UNREACHABLE, "down")
        await cluster.reviewer.probe(("my-audience",))
    if not issuers:
        cluster.verifier.issuers = ClusterIssuers(())
    state = cluster.verifier.status()

    assert state.usable is usable
    assert state.detail.startswith("keys: ")


def test_a_cluster_has_its_configured_name(key: SigningKey, clock: FakeClock) -> None:
    """For the log and /readyz."""
    assert Cluster(key, clock).verifier.name == "home"


def test_issuers_are_configured_or_learnt() -> None:
    """Only the one that discovery names counts as discovered."""
    issuers = ClusterIssuers(["a"])
    assert ("a" in issuers, "b" in issuers, issuers.discovered) == (True, False, False)
    issuers.learn("b", discovered=False)
    assert ("b" in issuers, issuers.discovered) == (True, False)
    issuers.learn("c")
    issuers.learn("d", discovered=False)
    assert ("c" in issuers, issuers.discovered) == (True, True)
    assert (bool(issuers), bool(ClusterIssuers(()))) == (True, False)


async def test_made_up_tokens_do_not_use_up_the_reviews_of_signed_ones(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock
) -> None:
    """Anybody can name the cluster's issuer and a key that nobody has."""
    cluster = Cluster(key, clock, "always", qps=0.5, burst=3)
    await cluster.keys.refresh()
    flood = [
        summary(await cluster.verdict(unpublished.sign(service_account_claims(jti=f"{number}"))))
        for number in range(6)
    ]

    assert flood[-1] == Reason.REVIEW_THROTTLED
    assert summary(await cluster.verdict(key.sign(service_account_claims()))) == "tokenreview"
