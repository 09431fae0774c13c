"""RFC 7519, JSON Web Token: the RFC's own examples and the rules of the claims set."""

from __future__ import annotations

import pytest

from authgate.dev.compact import OMIT, json_bytes
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated
from tests.conformance.trusted import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    NOW,
    StoppedClock,
    Trusted,
    claims,
    gate,
    judged,
    trusting,
    verify,
)
from tests.support.key_pool import KeyPool
from tests.support.vectors import rfc_example

GOOD, MALFORMED = Reason.AUTHENTICATED, Reason.CLAIM_MALFORMED
EXPIRED, EARLY = Reason.TOKEN_EXPIRED, Reason.TOKEN_NOT_YET_VALID
MISMATCH, UNKNOWN = Reason.AUDIENCE_MISMATCH, Reason.ISSUER_UNKNOWN

CLAIMS = {
    "iss": [
        (ISSUER, GOOD),
        ("https://other.example", UNKNOWN),
        ("https://ISSUER.example", UNKNOWN),
        ("https://issuer.example/", UNKNOWN),
        ("https://issuer.example ", UNKNOWN),
        ("https://issuer.example:443", UNKNOWN),
        ("https://issuer.example\x00", UNKNOWN),
        ("", MALFORMED),
        (1, MALFORMED),
        (True, MALFORMED),
        (None, MALFORMED),
        ([ISSUER], MALFORMED),
        ({"iss": ISSUER}, MALFORMED),
        (OMIT, MALFORMED),
    ],
    "sub": [
        ("alice", GOOD),
        ("Ælfgifu", GOOD),
        (1, MALFORMED),
        (True, MALFORMED),
        (["alice"], MALFORMED),
        ({"name": "alice"}, MALFORMED),
    ],
    "aud": [
        (AUDIENCE, GOOD),
        ([AUDIENCE], GOOD),
        (["another", AUDIENCE], GOOD),
        ([AUDIENCE, AUDIENCE], GOOD),
        ("another", MISMATCH),
        ("my-audience2", MISMATCH),
        ("my-audienc", MISMATCH),
        ("My-Audience", MISMATCH),
        ("my-audience ", MISMATCH),
        ("my-audience another", MISMATCH),
        ("my-audience,another", MISMATCH),
        ("*", MISMATCH),
        ("", MISMATCH),
        (["another"], MISMATCH),
        ([], MISMATCH),
        (OMIT, MISMATCH),
        (None, MALFORMED),
        (1, MALFORMED),
        (True, MALFORMED),
        ([1], MALFORMED),
        ([AUDIENCE, 1], MALFORMED),
        ([AUDIENCE, None], MALFORMED),
        ([[AUDIENCE]], MALFORMED),
        ({AUDIENCE: True}, MALFORMED),
    ],
    "exp": [
        (NOW + 1, GOOD),
        (NOW + 0.5, GOOD),
        (NOW, EXPIRED),
        (NOW - 0.5, EXPIRED),
        (NOW - 1, EXPIRED),
        (0, EXPIRED),
        (OMIT, MALFORMED),
        (None, MALFORMED),
        (str(NOW + 600), MALFORMED),
        ("tomorrow", MALFORMED),
        (True, MALFORMED),
        ([NOW + 600], MALFORMED),
        ({"at": NOW + 600}, MALFORMED),
        (-1, MALFORMED),
        (10**18, MALFORMED),
        ((NOW + 600) * 1000, MALFORMED),
    ],
    "nbf": [
        (NOW, GOOD),
        (NOW + LEEWAY, GOOD),
        (NOW + LEEWAY + 1, EARLY),
        (OMIT, GOOD),
        (None, GOOD),  # kube-apiserver treats it as missing
        (str(NOW), MALFORMED),
        (True, MALFORMED),
        ([NOW], MALFORMED),
        (-1, MALFORMED),
    ],
    "iat": [
        (NOW, GOOD),
        (NOW - 10**9, GOOD),
        (NOW + LEEWAY, GOOD),
        (NOW + LEEWAY + 1, EARLY),
        (OMIT, GOOD),
        (None, MALFORMED),
        (str(NOW), MALFORMED),
        (False, MALFORMED),
        ({}, MALFORMED),
    ],
    "jti": [
        ("1", GOOD),
        (OMIT, GOOD),
        (1, MALFORMED),
        ([], MALFORMED),
        (False, MALFORMED),
    ],
}
"""Section 4.1: values of each registered claim, and the result for a token that is otherwise valid."""


@pytest.fixture(scope="module")
def key(pool: KeyPool) -> SigningKey:
    """The issuer's only key."""
    return pool.key("ES256")


@pytest.mark.parametrize(
    ("claim", "value", "reason"),
    [
        pytest.param(claim, value, reason, id=f"{claim}={value!r}")
        for claim, rows in CLAIMS.items()
        for value, reason in rows
    ],
)
async def test_section_4_1_registered_claims(
    key: SigningKey, claim: str, value: object, reason: Reason
) -> None:
    """A registered claim has the type and the meaning of the RFC, and no other."""
    assert await judged(trusting(key), key.sign(claims({claim: value}))) is reason


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "+1", "0x7fffffff", "1."]
)
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat", "other"])
async def test_section_2_numbers_are_json_numbers(key: SigningKey, claim: str, text: str) -> None:
    """A number that is not valid JSON or not finite makes the payload invalid at every position."""
    payload = json_bytes(claims({claim: 0})).replace(f'"{claim}":0'.encode(), f'"{claim}":{text}'.encode())
    assert text.encode() in payload
    assert await judged(trusting(key), key.sign_raw(b'{"alg":"ES256"}', payload)) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("text", [f"{NOW + 600}.0", f"{NOW + 600}.25", "1.8e9", "18E+8"])
async def test_section_2_numeric_date_need_not_be_an_integer(key: SigningKey, text: str) -> None:
    """A NumericDate can have a fraction or an exponent."""
    payload = json_bytes(claims({"exp": 0})).replace(b'"exp":0', f'"exp":{text}'.encode())
    assert await judged(trusting(key), key.sign_raw(b'{"alg":"ES256"}', payload)) is Reason.AUTHENTICATED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b'"sub":"alice"', b'"sub":"mallory"'),
        (b'"sub":"alice"', b'"s\\u0075b":"mallory"'),
        (b'"x":{"a":1,"a":1}', b'"y":0'),
        (b'"x":[{"a":1,"a":1}]', b'"y":0'),
    ],
    ids=["twice", "twice but for an escape", "in an object", "in a list"],
)
async def test_section_4_claim_names_are_unique(key: SigningKey, first: bytes, second: bytes) -> None:
    """A payload with a repeated member, at any level, is rejected."""
    payload = json_bytes(claims({"sub": OMIT}))[:-1] + b"," + first + b"," + second + b"}"
    assert await judged(trusting(key), key.sign_raw(b'{"alg":"ES256"}', payload)) is Reason.DUPLICATE_MEMBER


async def test_section_4_claim_names_are_case_sensitive(key: SigningKey) -> None:
    """A claim in another spelling is a different claim."""
    assert await judged(trusting(key), key.sign(claims({"exp": OMIT, "EXP": NOW + 600}))) is MALFORMED


async def test_section_4_unknown_claims_are_ignored(key: SigningKey) -> None:
    """Unknown claims have no effect."""
    token = key.sign(claims({"http://example.com/is_root": True, "x": [{"y": None}, 1.5, ""]}))
    assert await judged(trusting(key), token) is Reason.AUTHENTICATED


@pytest.mark.parametrize(
    "payload",
    [b"null", b"true", b"1", b'"text"', b"[]", b'[{"iss":"joe"}]', b"{", b"{}}", b"{} {}", b"Payload", b" "],
    ids=repr,
)
async def test_section_7_2_the_payload_is_a_json_object(key: SigningKey, payload: bytes) -> None:
    """A payload that is not a JSON object is rejected, even with a valid signature."""
    assert await judged(trusting(key), key.sign_raw(b'{"alg":"ES256"}', payload)) is Reason.TOKEN_MALFORMED


async def test_section_7_2_an_empty_object_has_no_issuer(key: SigningKey) -> None:
    """A claims set without claims is rejected."""
    assert await judged(trusting(key), key.sign_raw(b'{"alg":"ES256"}', b"{}")) is MALFORMED


async def test_section_3_1_example_with_hmac_is_rejected(key: SigningKey) -> None:
    """The RFC's first example (that of RFC 7515, appendix A.1) is rejected for its algorithm."""
    verifier = gate(Trusted((key.jwk(),), issuer="joe"), clock=StoppedClock(1300819379))
    assert await judged(verifier, rfc_example("RFC 7515 A.1")["jws"]) is Reason.ALGORITHM_NOT_ALLOWED


async def test_section_6_1_unsecured_example_is_rejected(key: SigningKey) -> None:
    """The RFC's unsecured example (that of RFC 7515, appendix A.5) is rejected for its algorithm."""
    verifier = gate(Trusted((key.jwk(),), issuer="joe"), clock=StoppedClock(1300819379))
    assert await judged(verifier, rfc_example("RFC 7515 A.5")["jws"]) is Reason.ALGORITHM_NOT_ALLOWED


async def test_section_5_2_nested_token_is_rejected(key: SigningKey) -> None:
    """A signed token whose payload is another token is rejected, because its payload is not a claims set."""
    inner = key.sign(claims())
    token = key.sign_raw(b'{"alg":"ES256","cty":"JWT"}', inner.encode())
    assert await judged(trusting(key), token) is Reason.TOKEN_MALFORMED


async def test_section_5_3_claims_in_the_header_are_ignored(key: SigningKey) -> None:
    """Claims in the header do not replace claims that are missing in the payload."""
    token = key.sign(claims({"exp": OMIT}), {"exp": NOW + 600, "aud": AUDIENCE, "iss": ISSUER})
    assert await judged(trusting(key), token) is MALFORMED


async def test_appendix_a_encrypted_token_is_rejected(key: SigningKey) -> None:
    """A token of five segments is rejected as encrypted."""
    header = key.sign_raw(b'{"alg":"RSA1_5","enc":"A128CBC-HS256"}', b"{}").partition(".")[0]
    assert await judged(trusting(key), f"{header}.a.b.c.d") is Reason.TOKEN_ENCRYPTED


async def test_section_4_1_4_a_verdict_ends_with_the_token(key: SigningKey) -> None:
    """The verdict on a valid token ends at its `exp`."""
    verdict = await verify(trusting(key), key.sign(claims({"exp": NOW + 7})))
    assert isinstance(verdict, Authenticated)
    assert verdict.expires_at == NOW + 7
