"""Tokens of a cluster: when local keys decide and when a TokenReview is sent."""

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
@pytest.mark.parametrize("keys", ["in memory", "not fetched", "unknown", "unavailable"])
async def test_a_token_that_is_known_to_be_invalid_is_not_reviewed(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock, mode: ReviewMode, bad: str, keys: str
) -> None:
    """This holds in every mode and wherever its key is. The test's TokenReview would accept the token."""
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
async def test_a_token_that_a_known_key_rejects_is_not_reviewed(
    pool: KeyPool,
    key: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    index: int,
    changes: JsonObject,
    reason: Reason,
) -> None:
    """It expired, its signature is wrong, or its claims name no account."""
    cluster = Cluster(key, clock, mode)
    await cluster.keys.refresh()
    verdict = await cluster.verdict(
        pool.key("RS256", index, kid="key-1").sign(service_account_claims(**changes))
    )

    assert summary(verdict) == reason
    assert cluster.reviews == 0


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_of_another_algorithm_causes_no_review(
    pool: KeyPool, key: SigningKey, clock: FakeClock, mode: ReviewMode
) -> None:
    """A token with a confused algorithm is known to be invalid."""
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
async def test_a_token_is_reviewed_if_keys_cannot_or_must_not_decide_alone(
    key: SigningKey,
    unpublished: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    known: str,
    decided: str,
    reviews: int,
) -> None:
    """This covers each mode and each way in which a key can be missing. No keys were fetched before."""
    cluster = Cluster(key, clock, mode)
    if known == "unavailable":
        cluster.source.error = "down"
    signing = unpublished if known == "unknown" else key

    for _ in range(2):  # once with a fetch, then with the keys in memory
        before = cluster.reviews
        assert summary(await cluster.verdict(signing.sign(service_account_claims()))) == decided
        assert cluster.reviews - before == reviews


async def test_with_mode_always_a_missing_key_causes_no_fetch(key: SigningKey, clock: FakeClock) -> None:
    """The review decides anyway."""
    cluster = Cluster(key, clock, "always")
    await cluster.verdict(key.sign(service_account_claims()))

    assert (cluster.reviews, cluster.source.fetches) == (1, 0)


@pytest.mark.parametrize("fetched", [True, False], ids=["key in memory", "no key"])
async def test_with_mode_always_a_rejection_by_the_cluster_decides(
    key: SigningKey, clock: FakeClock, fetched: bool
) -> None:
    """The signature of a deleted pod's token is still valid."""
    cluster = Cluster(key, clock, "always")
    cluster.api.otherwise = REFUSED
    if fetched:
        await cluster.keys.refresh()
    verdict = await cluster.verdict(key.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.REVIEW_REJECTED, "")
    assert verdict.private == "invalid bearer token"
    assert verdict.evidence == Evidence("tokenreview", "home")
    assert verdict.final
    assert verdict.handle is cluster.handle


@pytest.mark.parametrize("kind", ApiErrorKind)
async def test_an_error_of_the_api_is_not_a_rejection(
    key: SigningKey, clock: FakeClock, kind: ApiErrorKind
) -> None:
    """This holds for tokens that the keys would accept (mode always) and for tokens with unknown keys."""
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
async def test_only_verdicts_of_mode_always_have_a_max_age(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock, mode: ReviewMode, max_age: float | None
) -> None:
    """`maxAge` limits how long an accepted review is used. The token's expiry with leeway limits it anyway."""
    cluster = Cluster(key, clock, mode)
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.max_age == max_age
    assert verdict.expires_at == START + 3600 + 60
    assert verdict.handle is cluster.handle


async def test_a_review_names_all_audiences_of_the_configuration(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock
) -> None:
    """`spec.audiences` is never empty and never contains the token's own claims."""
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
async def test_a_review_for_other_audiences_is_a_rejection(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock, audiences: tuple[str, ...]
) -> None:
    """`status.audiences` must intersect. A server that does not support audiences answers without them."""
    cluster = Cluster(key, clock)
    cluster.api.otherwise = reviewed(audiences=audiences)
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (
        Reason.AUDIENCE_MISMATCH,
        "TokenReview returned no accepted audience",
    )
    assert verdict.handle is cluster.handle


async def test_a_review_that_names_the_anonymous_user_is_a_rejection(
    unpublished: SigningKey, key: SigningKey, clock: FakeClock
) -> None:
    """An API server that serves anonymous requests accepts a token that it does not recognise as a credential."""
    cluster = Cluster(key, clock)
    cluster.api.otherwise = reviewed("system:anonymous")
    verdict = await cluster.verdict(unpublished.sign(service_account_claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (
        Reason.REVIEW_REJECTED,
        "TokenReview returned system:anonymous",
    )


async def test_keys_and_review_give_the_identical_identity(key: SigningKey, clock: FakeClock) -> None:
    """The app gets the same identity from both for the same token, whatever the order of its audiences."""
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
async def test_a_cluster_is_probed_if_verdicts_need_reviews(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, probes: int
) -> None:
    """The probe uses the configured audiences."""
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
    """It needs keys, or a TokenReview that answers for tokens of the cluster."""
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
    """The log and /readyz show it."""
    assert Cluster(key, clock).verifier.name == "home"


def test_issuers_are_configured_or_discovered() -> None:
    """Only the issuer in the discovery document counts as discovered."""
    issuers = ClusterIssuers(["a"])
    assert ("a" in issuers, "b" in issuers, issuers.discovered) == (True, False, False)
    issuers.learn("b", discovered=False)
    assert ("b" in issuers, issuers.discovered) == (True, False)
    issuers.learn("c")
    issuers.learn("d", discovered=False)
    assert ("c" in issuers, issuers.discovered) == (True, True)
    assert (bool(issuers), bool(ClusterIssuers(()))) == (True, False)


async def test_invented_tokens_do_not_use_the_review_budget_of_signed_ones(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock
) -> None:
    """Any client can send a token with the cluster's issuer and an invented key id."""
    cluster = Cluster(key, clock, "always", qps=0.5, burst=3)
    await cluster.keys.refresh()
    flood = [
        summary(await cluster.verdict(unpublished.sign(service_account_claims(jti=f"{number}"))))
        for number in range(6)
    ]

    assert flood[-1] == Reason.REVIEW_THROTTLED
    assert summary(await cluster.verdict(key.sign(service_account_claims()))) == "tokenreview"
