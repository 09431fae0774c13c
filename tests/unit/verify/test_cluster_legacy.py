"""Tokens that name no audience: static ones, legacy ones in Secrets, and bound ones without `aud`."""

from __future__ import annotations

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, BearerToken, Evidence, Rejected
from authgate.verify.cluster import ReviewMode
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import START, FakeClock
from tests.support.cluster_scene import API_SERVER, MODES, Cluster, summary
from tests.support.key_pool import KeyPool
from tests.support.tokens import ISSUER, parsed, service_account_claims
from tests.support.verifiers import finished

NOT_REVIEWED = [pytest.param(mode, (), id=f"{mode}, no legacyAudiences") for mode in MODES] + [
    pytest.param("never", (API_SERVER,), id="never, though there are some")
]
REVIEWED = [pytest.param(mode, id=mode) for mode in MODES if mode != "never"]


@pytest.mark.parametrize(("mode", "legacy"), NOT_REVIEWED)
async def test_an_opaque_token_is_rejected_without_legacy_audiences(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, legacy: tuple[str, ...]
) -> None:
    """No request is sent."""
    cluster = Cluster(key, clock, mode, legacy=legacy)

    assert await finished(cluster.verifier.try_verify_opaque(BearerToken("opaque"))) == Rejected(
        Reason.TOKEN_OPAQUE, "", Evidence("none", "home"), final=False
    )
    assert cluster.reviews == 0


@pytest.mark.parametrize("mode", REVIEWED)
async def test_an_opaque_token_is_reviewed_under_the_legacy_audiences(
    key: SigningKey, clock: FakeClock, mode: ReviewMode
) -> None:
    """A static token is meant for the API server. It has neither expiry nor issuer."""
    cluster = Cluster(key, clock, mode, legacy=(API_SERVER,))
    verdict = await finished(cluster.verifier.try_verify_opaque(BearerToken("opaque")))

    assert cluster.api.reviewed == [("opaque", (API_SERVER,))]
    assert isinstance(verdict, Authenticated)
    assert verdict.expires_at is None
    assert (verdict.identity.issuer, verdict.identity.audiences) == ("", (API_SERVER,))


LEGACY: dict[str, JsonObject] = {
    "legacy": service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT),
    "bound without aud": service_account_claims(aud=OMIT),
}


@pytest.mark.parametrize("kind", LEGACY)
@pytest.mark.parametrize(("mode", "legacy"), NOT_REVIEWED)
async def test_a_token_without_audience_is_rejected_without_legacy_audiences(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, legacy: tuple[str, ...], kind: str
) -> None:
    """No request is sent."""
    cluster = Cluster(key, clock, mode, legacy=legacy)
    token = parsed(key.sign(LEGACY[kind]))

    verdict = await finished(cluster.verifier.try_verify(token))
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.AUDIENCE_MISMATCH, "the token has no audience")
    assert "cluster.tokenReview.legacyAudiences" in verdict.private
    assert verdict.evidence == Evidence("none", "home")
    assert cluster.reviews == 0


@pytest.mark.parametrize("kind", LEGACY)
@pytest.mark.parametrize("mode", REVIEWED)
@pytest.mark.parametrize("known", [True, False], ids=["key in memory", "no key"])
async def test_a_token_without_audience_is_reviewed_under_the_legacy_audiences(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, kind: str, known: bool
) -> None:
    """A valid signature is not enough, because its Secret may be deleted."""
    cluster = Cluster(key, clock, mode, legacy=(API_SERVER,))
    if known:
        await cluster.keys.refresh()
    token = parsed(key.sign(LEGACY[kind]))
    verdict = await finished(cluster.verifier.try_verify(token))

    assert cluster.api.reviewed == [(token.text, (API_SERVER,))]
    assert isinstance(verdict, Authenticated)
    assert verdict.expires_at == (None if kind == "legacy" else START + 3660)


@pytest.mark.parametrize("mode", REVIEWED)
@pytest.mark.parametrize(
    ("index", "headers", "changes", "reason"),
    [
        pytest.param(1, {}, {}, Reason.SIGNATURE_INVALID, id="forged"),
        pytest.param(0, {}, {"exp": START - 60}, Reason.TOKEN_EXPIRED, id="expired"),
        pytest.param(0, {}, {"nbf": START + 61}, Reason.TOKEN_NOT_YET_VALID, id="not yet valid"),
        pytest.param(0, {"alg": "none"}, {}, Reason.ALGORITHM_NOT_ALLOWED, id="unsigned"),
        pytest.param(0, {"typ": "logout+jwt"}, {}, Reason.TYPE_NOT_ACCEPTED, id="another type"),
        pytest.param(0, {}, {"cnf": {"jkt": "x"}}, Reason.TOKEN_SENDER_CONSTRAINED, id="bound to its sender"),
    ],
)
async def test_a_token_without_audience_that_is_known_to_be_invalid_is_not_reviewed(
    pool: KeyPool,
    key: SigningKey,
    clock: FakeClock,
    mode: ReviewMode,
    index: int,
    headers: JsonObject,
    changes: JsonObject,
    reason: Reason,
) -> None:
    """It is handled like any other token."""
    cluster = Cluster(key, clock, mode, legacy=(API_SERVER,))
    await cluster.keys.refresh()
    claims = service_account_claims(iss=LEGACY_ISSUER, aud=OMIT, exp=OMIT) | changes
    token = parsed(pool.key("RS256", index, kid="key-1").sign(claims, headers))
    verdict = await finished(cluster.verifier.try_verify(token))

    assert summary(verdict) == reason
    assert cluster.reviews == 0


def test_only_the_legacy_issuers_tokens_are_legacy(key: SigningKey, clock: FakeClock) -> None:
    """The exact issuer decides, whether they are reviewed or not."""
    for legacy in ((), (API_SERVER,)):
        verifier = Cluster(key, clock, legacy=legacy).verifier

        assert verifier.accepts_legacy(LEGACY_ISSUER)
        assert not verifier.accepts_legacy(LEGACY_ISSUER + "/")
        assert not verifier.accepts_legacy(ISSUER)


@pytest.mark.parametrize(
    ("error", "usable"), [(None, True), (ApiError(ApiErrorKind.FORBIDDEN, "no binding"), False)]
)
async def test_the_status_of_legacy_tokens_is_separate_from_the_keys(
    key: SigningKey, clock: FakeClock, error: ApiError | None, usable: bool
) -> None:
    """With keys the cluster is usable. If TokenReview fails, a probe is needed."""
    cluster = Cluster(key, clock, legacy=(API_SERVER,))
    await cluster.keys.refresh()
    if error is not None:
        cluster.api.otherwise = error
    await cluster.verdict(key.sign(LEGACY["legacy"]))
    legacy = cluster.verifier.legacy_status()

    assert cluster.verifier.status().usable
    assert legacy is not None
    assert legacy.usable is usable
    assert ("no binding" in legacy.detail) is not usable
    assert cluster.verifier.needs_probe() is not usable


@pytest.mark.parametrize(("mode", "legacy"), NOT_REVIEWED)
async def test_without_reviews_legacy_tokens_have_no_state(
    key: SigningKey, clock: FakeClock, mode: ReviewMode, legacy: tuple[str, ...]
) -> None:
    """They are rejected without any request."""
    assert Cluster(key, clock, mode, legacy=legacy).verifier.legacy_status() is None
