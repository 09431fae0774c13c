"""Signing keys: which keys are accepted, their kid, and what is published."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from authgate.signing.keys import PrivateKey, SigningKey, SigningKeyError, jwk_set, read_signing_key

P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def pem(
    key: PrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    """The key in PEM, as openssl genpkey writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [pytest.param(P256, "ES256", id="P-256"), pytest.param(ED25519, "EdDSA", id="Ed25519")],
)
def test_the_published_key_verifies_signatures(key: PrivateKey, algorithm: str) -> None:
    """PyJWT needs only the published JWK."""
    signing = read_signing_key(pem(key))
    published = jwt.PyJWK(json.loads(jwk_set([signing]))["keys"][0])
    assert published.algorithm_name == signing.algorithm == algorithm
    assert published.Algorithm.verify(b"data", published.key, signing.sign(b"data"))


def test_a_kid_is_the_thumbprint_of_the_key() -> None:
    """The thumbprint of RFC 8037's example key is in its appendix A.3."""
    private = ed25519.Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert SigningKey.of(private).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_nothing_private_is_published() -> None:
    """A JWKS contains only the public members."""
    keys = json.loads(jwk_set([SigningKey.of(P256), SigningKey.of(ED25519)]))["keys"]
    assert [set(key) for key in keys] == [
        {"kty", "crv", "x", "y", "kid", "alg", "use"},
        {"kty", "crv", "x", "kid", "alg", "use"},
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"", "no readable PEM", id="empty"),
        pytest.param(
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "no readable PEM", id="not a key"
        ),
        pytest.param(pem(P256, BestAvailableEncryption(b"secret")), "encrypted", id="encrypted"),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), "neither a P-256 nor", id="RSA"),
        pytest.param(pem(ed448.Ed448PrivateKey.generate()), "neither a P-256 nor", id="Ed448"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "needs P-256", id="P-384"),
    ],
)
def test_other_keys_are_rejected(text: bytes, why: str) -> None:
    """The message explains why the file cannot be used."""
    with pytest.raises(SigningKeyError, match=why):
        read_signing_key(text)


def test_the_repr_of_a_key_has_no_private_part() -> None:
    """A log can only show its kid and algorithm."""
    assert "private" not in repr(SigningKey.of(P256))
