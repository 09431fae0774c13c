"""Tokens that are bound to their sender are not bearer tokens (RFC 9449, 7.2; RFC 8705, section 3; RFC 7800)."""

from __future__ import annotations

import pytest

from authgate.credential.bearer import parse_credential
from authgate.dev.keys import SigningKey
from authgate.errors import Reason
from authgate.model import Rejected
from tests.conformance.trusted import claims, judged, trusting
from tests.support.key_pool import KeyPool

CONFIRMATIONS: dict[str, object] = {
    "RFC 9449, 6.1: a DPoP key": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
    "RFC 8705, 3.1: a client certificate": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"},
    "RFC 7800, 3.2: a public key": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
    "RFC 7800, 3.3: an encrypted key": {"jwe": "a.b.c.d.e"},
    "RFC 7800, 3.4: a key's id": {"kid": "dfd1aa97-6d8d-4575-a0fe-34b96de2bfad"},
    "RFC 7800, 3.5: a key's URL": {"jku": "https://keys.example/jwks", "kid": "1"},
    "an unknown method": {"tbh": "x"},
    "no method": {},
    "null": None,
    "a text": "jkt",
    "a list": [{"jkt": "x"}],
    "false": False,
}


@pytest.fixture(scope="module")
def key(pool: KeyPool) -> SigningKey:
    """The issuer's key."""
    return pool.key("ES256", kid="issuer-key")


@pytest.mark.parametrize("confirmation", CONFIRMATIONS.values(), ids=CONFIRMATIONS)
@pytest.mark.parametrize("typ", ["JWT", "at+jwt"])
async def test_7_2_a_bound_token_is_not_a_bearer_token(
    key: SigningKey, typ: str, confirmation: object
) -> None:
    """This holds for every kind of binding, even a malformed one, because the sender has proved nothing."""
    token = key.sign(claims({"cnf": confirmation}), {"typ": typ})
    assert await judged(trusting(key), token) is Reason.TOKEN_SENDER_CONSTRAINED


@pytest.mark.parametrize("scheme", [b"DPoP", b"dpop", b"DPOP"])
def test_7_1_the_dpop_scheme_is_not_read_as_bearer(scheme: bytes) -> None:
    """The reason is that no proof can be verified, so clients do not send the token as a bearer token instead."""
    assert parse_credential([scheme + b" abc"], 100) == Rejected(
        Reason.SCHEME_NOT_BEARER, "DPoP proofs cannot be verified"
    )
