"""Keys in certificates: JWKs with `x5c` only, objects of PEM by kid, and PEM."""

from __future__ import annotations

import hashlib
from base64 import b64encode, encodebytes
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authgate.config.models.files import check_public_keys
from authgate.dev.compact import JsonObject, json_bytes, segment
from authgate.dev.keys import SigningKey
from authgate.keys.jwk import KeyDocumentError, read_jwk_set, read_pem_keys
from tests.support.key_pool import KeyPool

ORIGIN = "https://issuer.example/keys"


def certificate(key: SigningKey) -> x509.Certificate:
    """Return a self-signed certificate of the key. It has expired, which is ignored."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing")])
    now = datetime.now(UTC)
    private = key.private
    builder = x509.CertificateBuilder(name, name, key.public, 1, now - timedelta(9), now - timedelta(1))
    eddsa = isinstance(private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(private, None if eddsa else SHA256())


def der(key: SigningKey) -> bytes:
    """Return the certificate as in `x5c`, before base64."""
    return certificate(key).public_bytes(Encoding.DER)


def pem(key: SigningKey) -> str:
    """Return the certificate as in a file."""
    return certificate(key).public_bytes(Encoding.PEM).decode()


def read_one(jwk: JsonObject) -> None:
    """Read a JWK Set of one key."""
    read_jwk_set(json_bytes({"keys": [jwk]}), ORIGIN)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_jwk_may_have_a_certificate_instead_of_parameters(pool: KeyPool, algorithm: str) -> None:
    """RFC 7517, section 4.7; the first certificate has the key."""
    key = pool.key(algorithm, kid="key-1")
    data = der(key)
    thumbprint = segment(hashlib.sha256(data).digest())
    chain = [b64encode(data).decode(), "anything"]
    document = read_jwk_set(
        json_bytes({"keys": [{"kid": "key-1", "x5c": chain, "x5t#S256": thumbprint}]}), ORIGIN
    )
    (found,) = document.keys
    assert found.info.kid == "key-1"
    assert found.material == key.public
    assert algorithm in found.algorithms


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x5t": "AAAA"}, "'x5t' is not the thumbprint"),
        ({"x5t#S256": segment(bytes(32))}, "'x5t#S256' is not the thumbprint"),
        ({"kty": "RSA"}, "'kty' is not that of its certificate"),
        ({"alg": "RS256"}, "'alg' does not match its type"),
        ({"x5c": []}, "holds no certificate"),
        ({"x5c": "x"}, "holds no certificate"),
        ({"x5c": [1]}, "holds no certificate"),
        ({"x5c": ["!"]}, "holds no certificate"),
        ({"x5c": ["AAAA"]}, "holds no certificate"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(pool: KeyPool, changes: JsonObject, reason: str) -> None:
    """Thumbprints, type and algorithm must fit if they are given."""
    jwk: JsonObject = {"kid": "key-1", "x5c": [b64encode(der(pool.key("ES256"))).decode()], **changes}
    with pytest.raises(KeyDocumentError, match=reason):
        read_one(jwk)


def test_a_certificate_of_an_unknown_version_is_skipped_alone(pool: KeyPool) -> None:
    """The library reports it by an exception that is not a ValueError; the other keys of the document stay usable."""
    version_3, version_4 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"
    bad = der(pool.key("ES256")).replace(version_3, version_4, 1)
    usable = pool.key("ES256", 1, kid="key-1")
    entry = {"kid": "bad", "x5c": [b64encode(bad).decode()]}
    document = read_jwk_set(json_bytes({"keys": [entry, usable.jwk()]}), ORIGIN)
    assert [key.info.kid for key in document.keys] == ["key-1"]
    assert document.skipped == ("key 0: its 'x5c' holds no certificate",)
    lines = encodebytes(bad).decode()
    malformed = f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"
    document = read_jwk_set(json_bytes({"bad": malformed, "key-1": pem(usable)}), ORIGIN)
    assert [key.info.kid for key in document.keys] == ["key-1"]
    with pytest.raises(KeyDocumentError, match="not a PEM public key"):
        read_pem_keys(malformed.encode(), ORIGIN)


def test_the_parameters_of_a_jwk_take_precedence_over_its_certificate(pool: KeyPool) -> None:
    """The certificate is then not read."""
    key, other = pool.key("ES256", kid="key-1"), pool.key("ES256", 1)
    jwk = key.jwk({"x5c": [b64encode(der(other)).decode()]})
    (found,) = read_jwk_set(json_bytes({"keys": [jwk]}), ORIGIN).keys
    assert found.material == key.public


def test_an_object_of_certificates_and_public_keys_by_kid_is_read(pool: KeyPool) -> None:
    """Firebase publishes certificates like this, and Identity-Aware Proxy public keys."""
    first, second = pool.key("RS256"), pool.key("ES256")
    text = json_bytes({"a": pem(first), "b": second.public_pem().decode(), "c": "-----BEGIN X-----"})
    document = read_jwk_set(text, ORIGIN)
    assert [(key.info.kid, key.material) for key in document.keys] == [
        ("a", first.public),
        ("b", second.public),
    ]
    assert document.skipped == ("key 2: it is 'X'; only 'PUBLIC KEY' and 'CERTIFICATE' are read",)
    assert check_public_keys(text.decode()) == text.decode()


def test_a_certificate_is_a_static_key(pool: KeyPool) -> None:
    """It is in PEM, and can be in one file with public keys."""
    first, second = pool.key("RS256"), pool.key("ES256")
    text = pem(first) + second.public_pem().decode()
    found = read_pem_keys(text.encode(), ORIGIN).keys
    assert [key.material for key in found] == [first.public, second.public]
    assert check_public_keys(text) == text


def test_an_object_without_pem_is_not_a_key_set() -> None:
    """Such as an error document."""
    with pytest.raises(KeyDocumentError, match="'keys' is missing or not a list"):
        read_jwk_set(b'{"error": "x"}', ORIGIN)
    with pytest.raises(ValueError, match="must be a JWKS"):
        check_public_keys('{"error": "x"}')


def test_keys_for_encryption_are_skipped_without_a_warning(pool: KeyPool) -> None:
    """Keycloak publishes one with its signing key."""
    document = read_jwk_set(
        json_bytes({"keys": [pool.key("RS256").jwk({"use": "enc"}), pool.key("ES256").jwk()]}), ORIGIN
    )
    assert (len(document.keys), document.skipped) == (1, ())
