"""Verification of an issuer's tokens with local keys: type, algorithm, time, signature, audience, identity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authgate.dev.compact import OMIT, JsonObject, compact, json_bytes
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, Evidence, KeyInfo, Rejected
from authgate.verify.claims import TimeRules
from authgate.verify.jwt import JWTVerifier
from authgate.verify.mapped import ClaimRules, PrefixedClaim
from tests.support.clock import START, FakeClock
from tests.support.tokens import claims, parsed
from tests.support.verifiers import RULES, finished, issuer_verifier, judged, refused, static


def test_a_valid_token_gives_an_identity(verifier: JWTVerifier, key: SigningKey) -> None:
    """The verdict has the token's expiry, and names issuer and key."""
    verdict = judged(verifier, key.sign(claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.identity.username == "user-1"
    assert verdict.expires_at == START + 3600
    assert verdict.evidence == Evidence("jwks", "corp", KeyInfo("key-1", "RSA", "a test"))
    assert verdict.max_age is None


def test_a_verdict_depends_on_the_key_that_verified_it(key: SigningKey, clock: FakeClock) -> None:
    """It has the key's handle."""
    keys = static(key)
    verdict = judged(issuer_verifier(keys, clock), key.sign(claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.handle is keys._index.keys[0].handle


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        pytest.param({"alg": "x" * 100}, "'" + "x" * 32 + "'", id="long alg"),
        pytest.param({"alg": 'a\r\n"\x00ä'}, "'a??\"??'", id="control characters in alg"),
        pytest.param({"typ": "y" * 100}, "'" + "y" * 32 + "'", id="long typ"),
        pytest.param({"typ": "b\n"}, "'b?'", id="control character in typ"),
    ],
)
def test_text_from_a_token_is_shortened_and_printable_in_details(
    verifier: JWTVerifier, changes: JsonObject, shown: str
) -> None:
    """A detail is written to logs and headers."""
    header = json_bytes({"alg": "RS256", **changes})
    verdict = judged(verifier, compact(header, json_bytes(claims()), b""))

    assert isinstance(verdict, Rejected)
    assert verdict.detail == shown


@pytest.mark.parametrize("typ", [OMIT, "JWT", "jwt", "application/jwt", "at+jwt", "application/AT+JWT"])
def test_an_allowed_type_is_accepted(verifier: JWTVerifier, key: SigningKey, typ: object) -> None:
    """The type may be missing. Case and prefix do not matter."""
    assert isinstance(judged(verifier, key.sign(claims(), {"typ": typ})), Authenticated)


@pytest.mark.parametrize(
    "typ", ["logout+jwt", "dpop+jwt", "token-introspection+jwt", "secevent+jwt", "", "JWS", "jwt "]
)
def test_a_token_of_another_type_is_rejected(verifier: JWTVerifier, key: SigningKey, typ: str) -> None:
    """A token of the same issuer for another purpose is not a bearer token (RFC 8725, section 3.11)."""
    assert refused(verifier, key.sign(claims(), {"typ": typ})) is Reason.TYPE_NOT_ACCEPTED


@pytest.mark.parametrize(
    ("confirmation", "detail"),
    [
        pytest.param({"jkt": "x"}, "'cnf' has jkt", id="DPoP key"),
        pytest.param({"x5t#S256": "x", "evil\r\n": 1}, "'cnf' has x5t#S256", id="client certificate"),
        pytest.param({"jwk": {}, "kid": "x"}, "'cnf' has jwk, kid", id="two members"),
        pytest.param({"evil\r\n": 1}, "'cnf' has only unknown members", id="unknown member"),
        pytest.param({}, "'cnf' is malformed", id="empty"),
        pytest.param(None, "'cnf' is malformed", id="null"),
        pytest.param(["jkt"], "'cnf' is malformed", id="list"),
    ],
)
def test_a_token_that_is_bound_to_its_sender_is_rejected(
    key: SigningKey, clock: FakeClock, confirmation: object, detail: str
) -> None:
    """This applies without `ignore_confirmation`. The detail names the kind of binding and quotes no value."""
    token = key.sign(claims(cnf=confirmation))
    ignoring = replace(RULES, ignore_confirmation=True)
    verdict = judged(issuer_verifier(static(key), clock), token)

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.TOKEN_SENDER_CONSTRAINED, detail)
    assert isinstance(judged(issuer_verifier(static(key), clock, rules=ignoring), token), Authenticated)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"aud": "other"}, Reason.AUDIENCE_MISMATCH, id="another audience"),
        pytest.param({"aud": ["other", "MY-AUDIENCE"]}, Reason.AUDIENCE_MISMATCH, id="other audiences"),
        pytest.param({"aud": OMIT}, Reason.AUDIENCE_MISMATCH, id="no audience"),
        pytest.param({"aud": []}, Reason.AUDIENCE_MISMATCH, id="empty audience"),
        pytest.param({"sub": OMIT}, Reason.IDENTITY_INVALID, id="no username"),
    ],
)
def test_every_claim_of_a_signed_token_is_checked(
    verifier: JWTVerifier, key: SigningKey, changes: JsonObject, reason: Reason
) -> None:
    """The verdict depends on the key that made the signature."""
    verdict = judged(verifier, key.sign(claims(changes)))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason
    assert verdict.evidence.key == KeyInfo("key-1", "RSA", "a test")
    assert verdict.handle is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"exp": START}, Reason.TOKEN_EXPIRED, id="expired"),
        pytest.param({"nbf": START + 61}, Reason.TOKEN_NOT_YET_VALID, id="not yet valid"),
        pytest.param({"iat": START + 61}, Reason.TOKEN_NOT_YET_VALID, id="issued in the future"),
    ],
)
def test_an_expired_token_is_rejected_without_using_a_key(
    verifier: JWTVerifier, key: SigningKey, changes: JsonObject, reason: Reason
) -> None:
    """Its time is checked before its signature, which costs a hundred times as much."""
    verdict = judged(verifier, key.sign(claims(changes)))

    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason
    assert verdict.evidence == Evidence("none", "corp")


def test_an_explanation_names_the_key_of_an_expired_token(
    key: SigningKey, stranger: SigningKey, clock: FakeClock
) -> None:
    """The reason stays "expired", even if the signature is wrong, because the time is checked first."""
    verifier = issuer_verifier(static(key), clock, verify_expired=True)
    good, forged = (judged(verifier, by.sign(claims({"exp": START}))) for by in (key, stranger))

    assert isinstance(good, Rejected)
    assert isinstance(forged, Rejected)
    assert [good.reason, forged.reason] == [Reason.TOKEN_EXPIRED] * 2
    assert [good.evidence.key, forged.evidence.key] == [KeyInfo("key-1", "RSA", "a test"), None]


@pytest.mark.parametrize(
    ("aud", "audiences"),
    [
        ("a", ("a",)),
        (["a"], ("a",)),
        (["b", "x", "a"], ("a", "b")),
        (["a", "a"], ("a",)),
    ],
    ids=str,
)
def test_an_identity_holds_the_audiences_that_the_gate_accepts(
    key: SigningKey, clock: FakeClock, aud: object, audiences: tuple[str, ...]
) -> None:
    """Each is listed once, and they are sorted, so that TokenReview gives the same identity."""
    rules = replace(RULES, audiences=frozenset({"a", "b"}))
    verdict = judged(issuer_verifier(static(key), clock, rules=rules), key.sign(claims(aud=aud)))

    assert isinstance(verdict, Authenticated)
    assert verdict.identity.audiences == audiences


BROKEN: list[tuple[Reason, JsonObject, JsonObject]] = [
    (Reason.TYPE_NOT_ACCEPTED, {"typ": "logout+jwt"}, {}),
    (Reason.ALGORITHM_NOT_ALLOWED, {"alg": "HS256"}, {}),
    (Reason.TOKEN_EXPIRED, {}, {"exp": START}),
    (Reason.SIGNATURE_INVALID, {}, {}),
    (Reason.AUDIENCE_MISMATCH, {}, {"aud": "other"}),
    (Reason.IDENTITY_INVALID, {}, {"sub": OMIT}),
]


@pytest.mark.parametrize("first", range(len(BROKEN)), ids=[row[0].value for row in BROKEN])
def test_the_first_check_that_fails_gives_the_reason(
    verifier: JWTVerifier, key: SigningKey, stranger: SigningKey, first: int
) -> None:
    """The token is invalid in several ways. The order is type, algorithm, time, signature, audience, identity."""
    headers: JsonObject = {}
    changes: JsonObject = {}
    for _, header, claim in BROKEN[first:]:
        headers |= header
        changes |= claim
    signing = stranger if first <= 3 else key

    assert refused(verifier, signing.sign(claims(changes), headers)) is BROKEN[first][0]


@pytest.mark.parametrize("leeway", [0.0, 45.0])
def test_a_verdict_ends_with_the_tokens_expiry_plus_leeway(
    key: SigningKey, clock: FakeClock, leeway: float
) -> None:
    """A cached verdict also includes the leeway."""
    rules = replace(RULES, time=TimeRules(expiry_leeway=leeway))
    verifier = issuer_verifier(static(key), clock, rules=rules)
    text = key.sign(claims())
    clock.advance(3600 + leeway - 0.001)
    verdict = judged(verifier, text)
    clock.advance(0.002)

    assert isinstance(verdict, Authenticated)
    assert verdict.expires_at == START + 3600 + leeway
    assert refused(verifier, text) is Reason.TOKEN_EXPIRED


def test_the_status_is_that_of_the_keys(verifier: JWTVerifier) -> None:
    """/readyz shows it."""
    assert verifier.name == "corp"
    assert verifier.status().detail == "1 static key"


def test_claim_rules_are_the_issuers_own(key: SigningKey, clock: FakeClock) -> None:
    """The constructor's rules give the identity."""
    verifier = issuer_verifier(static(key), clock, claim_rules=ClaimRules(PrefixedClaim("sub", "corp:")))
    verdict = judged(verifier, key.sign(claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.identity.username == "corp:user-1"


GRAPH = "00000003-0000-0000-c000-000000000000"
FOR_GRAPH = "this token is for Microsoft Graph; request a token for your own API"


@pytest.mark.parametrize(
    ("headers", "audience", "detail"),
    [
        pytest.param({"nonce": "n"}, GRAPH, FOR_GRAPH, id="by id"),
        pytest.param({"nonce": "n"}, "https://graph.microsoft.com", FOR_GRAPH, id="by URL"),
        pytest.param({}, GRAPH, "", id="without nonce"),
        pytest.param({"nonce": "n"}, "another", "", id="another audience"),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_a_token_for_microsoft_graph_is_recognised(
    key: SigningKey,
    stranger: SigningKey,
    clock: FakeClock,
    headers: JsonObject,
    audience: str,
    detail: str,
    accepted: bool,
) -> None:
    """By its header's nonce and its audience, whether its signature or its audience is checked first."""
    audiences = frozenset({audience if accepted else "mine"})
    verifier = issuer_verifier(static(key), clock, rules=replace(RULES, audiences=audiences))
    by_signature = judged(verifier, stranger.sign(claims(aud=audience), headers))
    assert isinstance(by_signature, Rejected)
    assert by_signature.reason is Reason.SIGNATURE_INVALID
    assert by_signature.detail == (detail or "1 key(s) tried")
    if not accepted:
        by_audience = judged(verifier, key.sign(claims(aud=audience), headers))
        assert isinstance(by_audience, Rejected)
        assert (by_audience.reason, by_audience.detail) == (Reason.AUDIENCE_MISMATCH, detail)


async def test_a_token_for_microsoft_graph_is_recognised_also_without_its_key(
    key: SigningKey, unpublished: SigningKey, clock: FakeClock
) -> None:
    """Another key id changes nothing about it."""
    verifier = issuer_verifier(static(key), clock, rules=replace(RULES, audiences=frozenset({GRAPH})))
    token = parsed(unpublished.sign(claims(aud=GRAPH), {"nonce": "n"}))
    verdict = await finished(verifier.try_verify(token))
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.KEY_UNKNOWN, FOR_GRAPH)


def test_a_nonce_in_the_header_rejects_no_token(verifier: JWTVerifier, key: SigningKey) -> None:
    """It only explains a rejection."""
    assert isinstance(judged(verifier, key.sign(claims(), {"nonce": "n"})), Authenticated)
