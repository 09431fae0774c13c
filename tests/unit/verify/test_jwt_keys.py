"""Signatures: every algorithm, the keys that are tried, and confusions of the two."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest

from authgate.dev.compact import compact, json_bytes
from authgate.dev.keys import Shape, SigningKey
from authgate.errors import Reason
from authgate.model import Authenticated, Evidence, KeyInfo, Rejected
from authgate.verify.jwt import JWTVerifier
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.key_sources import document
from tests.support.tokens import claims, parsed
from tests.support.verifiers import RULES, issuer_verifier, judged, refused, static


@pytest.mark.parametrize(
    ("algorithm", "shape"),
    [
        *(
            pytest.param(name, Shape.RSA_2048, id=name)
            for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        ),
        pytest.param("ES256", Shape.P256, id="ES256"),
        pytest.param("ES384", Shape.P384, id="ES384"),
        pytest.param("ES512", Shape.P521, id="ES512"),
        pytest.param("EdDSA", Shape.ED25519, id="Ed25519"),
        pytest.param("EdDSA", Shape.ED448, id="Ed448"),
    ],
)
def test_every_algorithm_accepts_valid_and_rejects_wrong_signatures(
    pool: KeyPool, clock: FakeClock, algorithm: str, shape: Shape
) -> None:
    """The same signature over other claims is wrong."""
    key = pool.key(algorithm, shape=shape, kid="key-1")
    verifier = issuer_verifier(static(key), clock)
    header, _, signature = key.sign(claims()).split(".")
    _, payload, _ = key.sign(claims(sub="admin")).split(".")

    assert isinstance(judged(verifier, key.sign(claims())), Authenticated)
    assert refused(verifier, f"{header}.{payload}.{signature}") is Reason.SIGNATURE_INVALID


def test_a_forged_token_is_rejected(verifier: JWTVerifier, stranger: SigningKey) -> None:
    """The kid is known, but the signature is of another key. The verdict names the key that was tried."""
    verdict = judged(verifier, stranger.sign(claims()))

    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.detail) == (Reason.SIGNATURE_INVALID, "1 key(s) tried")
    assert verdict.evidence == Evidence("jwks", "corp", KeyInfo("key-1", "RSA", "a test"))
    assert verdict.final


def test_the_rejection_of_a_forged_token_ends_with_a_change_of_keys(
    key: SigningKey, stranger: SigningKey, clock: FakeClock
) -> None:
    """A later key may have made the signature."""
    keys = static(key)
    verdict = judged(issuer_verifier(keys, clock), stranger.sign(claims()))

    assert isinstance(verdict, Rejected)
    assert verdict.handle is keys._index.handle


@pytest.mark.parametrize(
    "signature", [b"", b"\0", b"\0" * 256, b"\xff" * 256], ids=["none", "1", "256", "ones"]
)
def test_an_invented_signature_is_rejected(verifier: JWTVerifier, signature: bytes) -> None:
    """It can have any length."""
    header = json_bytes({"alg": "RS256", "kid": "key-1"})

    assert refused(verifier, compact(header, json_bytes(claims()), signature)) is Reason.SIGNATURE_INVALID


def test_a_public_key_is_not_used_as_hmac_secret(verifier: JWTVerifier, key: SigningKey) -> None:
    """This is the classic confusion of algorithms (RFC 8725, section 2.1)."""
    header, payload = json_bytes({"alg": "HS256", "kid": "key-1"}), json_bytes(claims())
    signing_input = compact(header, payload, b"").removesuffix(".").encode()
    signature = hmac.digest(key.public_pem(), signing_input, "sha256")

    assert refused(verifier, compact(header, payload, signature)) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "", "HS256", "rs256", "RS256 ", "RSA-OAEP", "ES256K"]
)
def test_an_algorithm_that_is_not_allowed_is_rejected(verifier: JWTVerifier, alg: str) -> None:
    """The comparison is exact. `none` can never be allowed."""
    header = json_bytes({"alg": alg, "kid": "key-1"})

    assert refused(verifier, compact(header, json_bytes(claims()), b"")) is Reason.ALGORITHM_NOT_ALLOWED


def test_an_algorithm_that_is_not_allowed_for_the_issuer_is_rejected(
    key: SigningKey, clock: FakeClock
) -> None:
    """This holds even if the issuer's key supports it."""
    rules = replace(RULES, algorithms=frozenset({"PS256"}))

    assert (
        refused(issuer_verifier(static(key), clock, rules=rules), key.sign(claims()))
        is Reason.ALGORITHM_NOT_ALLOWED
    )


def test_an_algorithm_that_the_key_does_not_support_is_rejected(
    verifier: JWTVerifier, pool: KeyPool, key: SigningKey
) -> None:
    """The key with this kid is an RSA key for RS256. It verifies no other algorithm."""
    for other in (pool.key("ES256", kid="key-1"), pool.key("PS256", kid="key-1")):
        verdict = judged(verifier, other.sign(claims()))

        assert isinstance(verdict, Rejected)
        assert verdict.reason is Reason.ALGORITHM_NOT_ALLOWED
        assert verdict.detail == f"the key with this kid is not for '{other.algorithm}'"


@pytest.mark.parametrize("kid", ["key-1", "evil"])
def test_a_key_inside_a_token_is_not_used(pool: KeyPool, verifier: JWTVerifier, kid: str) -> None:
    """`jwk`, `jku`, `x5u` and `x5c` are neither trusted nor fetched."""
    thief = pool.key("RS256", 1, kid=kid)
    pointers = {
        "jwk": thief.jwk(),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/cert",
        "x5c": ["MIIB"],
    }
    verdict = verifier.verify_locally(parsed(thief.sign(claims(), pointers)))

    assert not isinstance(verdict, Authenticated)


def test_a_valid_token_may_contain_pointers_to_keys(verifier: JWTVerifier, key: SigningKey) -> None:
    """Some issuers add them. They are ignored."""
    pointers = {"jku": "https://issuer.example/jwks", "jwk": key.jwk(), "x5t": "abc"}

    assert isinstance(judged(verifier, key.sign(claims(), pointers)), Authenticated)


def test_without_a_kid_every_key_of_the_algorithm_is_tried(pool: KeyPool, clock: FakeClock) -> None:
    """The verdict names the key that verified the token."""
    keys = [pool.key("ES256", number, kid=f"key-{number}") for number in range(4)]
    verifier = issuer_verifier(static(pool.key("RS256"), *keys), clock)
    verdict = judged(verifier, keys[3].without_kid().sign(claims()))

    assert isinstance(verdict, Authenticated)
    assert verdict.evidence.key == KeyInfo("key-3", "EC", "a test")


def test_without_a_kid_a_forgery_is_tried_with_every_key(pool: KeyPool, clock: FakeClock) -> None:
    """It is rejected after all of them. At most eight keys are tried."""
    keys = [pool.key("EdDSA", number, kid=f"key-{number}") for number in range(9)]
    verifier = issuer_verifier(static(*keys), clock)
    for signing in (pool.key("EdDSA", 20), keys[8]):
        verdict = judged(verifier, signing.without_kid().sign(claims()))

        assert isinstance(verdict, Rejected)
        assert (verdict.reason, verdict.detail) == (Reason.SIGNATURE_INVALID, "8 key(s) tried")


def test_the_keys_of_one_issuer_do_not_verify_tokens_of_another(
    pool: KeyPool, clock: FakeClock, key: SigningKey
) -> None:
    """Both issuers have a key with the same kid."""
    other = pool.key("RS256", 2, kid="key-1")
    one, two = issuer_verifier(static(key), clock), issuer_verifier(static(other), clock)

    assert isinstance(judged(one, key.sign(claims())), Authenticated)
    assert refused(two, key.sign(claims())) is Reason.SIGNATURE_INVALID


def test_a_key_set_that_is_read_twice_gives_separate_keys(key: SigningKey) -> None:
    """Two key sets share no revocation handles."""
    assert document(key).keys[0].handle is not document(key).keys[0].handle
