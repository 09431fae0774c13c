"""Reading public keys in PEM. One unusable key is an error that names it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authgate.dev.keys import Shape, SigningKey
from authgate.keys.jwk import KeyDocumentError, read_pem_keys
from tests.support.key_pool import KeyPool

ORIGIN = "keys.pem"


def private_pem(key: SigningKey) -> bytes:
    """Return the private half in PKCS #8."""
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pkcs1_pem(key: SigningKey) -> bytes:
    """Return the public half in PKCS #1, which has no key type."""
    return key.public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_of_each_type_is_read(pool: KeyPool, algorithm: str) -> None:
    """It has no kid, so it fits tokens with any kid."""
    (key,) = read_pem_keys(pool.key(algorithm).public_pem(), ORIGIN).keys

    assert algorithm in key.algorithms
    assert key.any_kid
    assert (key.info.kid, key.info.origin) == ("", ORIGIN)


def test_an_rsa_key_verifies_every_rsa_algorithm(pool: KeyPool) -> None:
    """PEM has no algorithm, so only the issuer's allow-list decides."""
    (key,) = read_pem_keys(pool.key("RS256").public_pem(), ORIGIN).keys

    assert key.algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


@pytest.mark.parametrize("between", [b"", b"\n\n", b"# the next one\n"], ids=["nothing", "lines", "comment"])
def test_several_keys_are_read_in_their_order(pool: KeyPool, between: bytes) -> None:
    """A file may have several keys, with text between them as OpenSSL writes it."""
    keys = [pool.key("RS256"), pool.key("ES256"), pool.key("EdDSA")]
    found = read_pem_keys(between.join(key.public_pem() for key in keys), ORIGIN)

    assert [key.info.kty for key in found.keys] == ["RSA", "EC", "OKP"]


def test_windows_line_ends_are_accepted(pool: KeyPool) -> None:
    """A carriage return is white space."""
    assert len(read_pem_keys(pool.key("ES256").public_pem().replace(b"\n", b"\r\n"), ORIGIN).keys) == 1


@pytest.mark.parametrize("data", [b"", b"garbage", b"-----END PUBLIC KEY-----"], ids=["empty", "text", "end"])
def test_a_file_without_a_key_is_refused(data: bytes) -> None:
    """Static keys without a key would reject every token."""
    with pytest.raises(KeyDocumentError, match="not a PEM public key"):
        read_pem_keys(data, ORIGIN)


@pytest.mark.parametrize("place", [0, 1], ids=["before a good key", "after a good key"])
@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PUBLIC KEY", "CERTIFICATE REQUEST"])
def test_a_block_of_another_kind_is_refused(pool: KeyPool, kind: str, place: int) -> None:
    """If it were ignored, a key that the user expects would be missing. The message names its kind."""
    blocks = {
        "PRIVATE KEY": private_pem(pool.key("ES256")),
        "RSA PUBLIC KEY": pkcs1_pem(pool.key("RS256")),
        "CERTIFICATE REQUEST": pool.key("ES256").public_pem().replace(b"PUBLIC KEY", b"CERTIFICATE REQUEST"),
    }
    parts = [pool.key("RS256", 1).public_pem()]
    parts.insert(place, blocks[kind])

    with pytest.raises(KeyDocumentError, match=f"key {place}: it is '{kind}'; only 'PUBLIC KEY' and"):
        read_pem_keys(b"".join(parts), ORIGIN)


def test_a_block_that_is_cut_off_is_refused(pool: KeyPool) -> None:
    """This also holds if a valid key follows it."""
    cut = pool.key("RS256").public_pem()[:100]

    for data in (cut, cut + pool.key("ES256").public_pem()):
        with pytest.raises(KeyDocumentError, match="key 0: not a PEM public key"):
            read_pem_keys(data, ORIGIN)


def test_an_unusable_key_is_rejected_with_its_number(pool: KeyPool) -> None:
    """Unlike in a JWK Set, no key is skipped, because the user can correct the file."""
    data = pool.key("ES256").public_pem() + pool.key("RS256", shape=Shape.RSA_1024).public_pem()

    with pytest.raises(KeyDocumentError, match="key 1: 1024 RSA bits; 2048 to 8192 are accepted"):
        read_pem_keys(data, ORIGIN)
