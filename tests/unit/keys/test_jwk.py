"""Reading JWK Sets: one bad key is skipped with its reason, never the whole set."""

from __future__ import annotations

import base64
import math

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from authgate.dev.compact import OMIT, JsonObject, json_bytes, segment
from authgate.dev.keys import Shape
from authgate.keys.algorithms import algorithms_for
from authgate.keys.jwk import MAX_KEYS, KeyDocument, KeyDocumentError, read_jwk_set
from authgate.keys.mldsa import MLDSAPublicKey
from tests.support.key_pool import KeyPool

ORIGIN = "https://issuer.example/jwks"
SMALL_PRIMES = math.prod(number for number in range(3, 168) if all(number % i for i in range(2, number)))


def uint(value: int) -> str:
    """Return a number as in JWK parameters (RFC 7518, section 2: Base64urlUInt)."""
    return segment(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def read(*keys: object) -> KeyDocument:
    """Read a JWK Set of these keys."""
    return read_jwk_set(json_bytes({"keys": list(keys)}), ORIGIN)


def why_skipped(bad: object, pool: KeyPool) -> str:
    """Return the reason why a key between two valid ones is skipped."""
    good = pool.key("ES256").jwk(), pool.key("EdDSA").jwk()
    found = read(good[0], bad, good[1])

    assert len(found.keys) == 2
    assert len(found.skipped) == 1
    return found.skipped[0]


@pytest.mark.parametrize(
    ("algorithm", "shape", "kty", "crv"),
    [
        pytest.param("RS256", Shape.RSA_2048, "RSA", None, id="RSA 2048"),
        pytest.param("RS256", Shape.RSA_3072, "RSA", None, id="RSA 3072"),
        pytest.param("ES256", Shape.P256, "EC", "P-256", id="P-256"),
        pytest.param("ES384", Shape.P384, "EC", "P-384", id="P-384"),
        pytest.param("ES512", Shape.P521, "EC", "P-521", id="P-521"),
        pytest.param("EdDSA", Shape.ED25519, "OKP", "Ed25519", id="Ed25519"),
        pytest.param("EdDSA", Shape.ED448, "OKP", "Ed448", id="Ed448"),
    ],
)
def test_a_key_of_each_type_is_read(
    pool: KeyPool, algorithm: str, shape: Shape, kty: str, crv: str | None
) -> None:
    """It has its kid, its type, its origin, and every algorithm that it fits."""
    signing = pool.key(algorithm, shape=shape, kid="key-1")
    (key,) = read(signing.jwk({"alg": OMIT})).keys

    assert (key.info.kid, key.info.kty, key.info.origin) == ("key-1", kty, ORIGIN)
    assert key.algorithms == algorithms_for(kty, crv)
    assert not isinstance(key.material, MLDSAPublicKey)
    assert key.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == signing.public_pem()
    assert not key.any_kid


def test_a_key_with_an_algorithm_verifies_no_other(pool: KeyPool) -> None:
    """RFC 7517, section 4.4: `alg` binds the key."""
    (key,) = read(pool.key("PS384").jwk()).keys

    assert key.algorithms == {"PS384"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"use": OMIT, "alg": OMIT}, id="neither use nor alg"),
        pytest.param({"key_ops": ["verify"]}, id="key_ops verify"),
        pytest.param({"key_ops": ["sign", "verify"]}, id="key_ops verify and another"),
        pytest.param({"kid": OMIT}, id="no kid"),
        pytest.param({"kid": "k" * 512}, id="longest kid"),
        pytest.param({"alg": None}, id="alg null"),
        pytest.param({"x5c": ["a certificate"], "x5t": "t", "other": {"a": [1]}}, id="members unknown here"),
    ],
)
def test_optional_and_unknown_members_of_a_key(pool: KeyPool, changes: JsonObject) -> None:
    """RFC 7517, section 4: only `kty` and its parameters are required."""
    assert len(read(pool.key("RS256").jwk(changes)).keys) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0"}, "private part", id="symmetric key"),
        pytest.param({"k": "c2VjcmV0"}, "private part", id="symmetric part in an RSA key"),
        pytest.param({"d": "AQAB"}, "private part", id="private exponent"),
        pytest.param({"p": "AQAB"}, "private part", id="prime"),
        pytest.param({"dp": ""}, "private part", id="empty private member"),
        pytest.param({"oth": []}, "private part", id="further primes"),
        pytest.param({"kty": OMIT}, "'kty'", id="no kty"),
        pytest.param({"kty": "oct"}, "'kty'", id="kty oct without a secret"),
        pytest.param({"kty": "rsa"}, "'kty'", id="kty in small letters"),
        pytest.param({"kty": ["RSA"]}, "'kty'", id="kty no string"),
        pytest.param({"kty": "EC"}, "not a valid key", id="kty of another type"),
        pytest.param({"kid": 1}, "'kid'", id="kid no string"),
        pytest.param({"kid": None}, "'kid'", id="kid null"),
        pytest.param({"kid": "k" * 513}, "'kid'", id="kid too long"),
        pytest.param({"alg": 1}, "'alg' is not a string", id="alg no string"),
        pytest.param({"alg": "ES256"}, "'alg' does not match", id="alg of another type"),
        pytest.param({"alg": "RSA-OAEP"}, "'alg' does not match", id="alg for encryption"),
        pytest.param({"alg": "HS256"}, "'alg' does not match", id="alg HMAC"),
        pytest.param({"alg": "none"}, "'alg' does not match", id="alg none"),
        pytest.param({"use": None}, "'use'", id="use null"),
        pytest.param({"use": ["sig"]}, "'use'", id="use no string"),
        pytest.param({"key_ops": ["sign"]}, "'key_ops'", id="key_ops without verify"),
        pytest.param({"key_ops": []}, "'key_ops'", id="key_ops empty"),
        pytest.param({"key_ops": "verify"}, "'key_ops'", id="key_ops no list"),
        pytest.param({"n": OMIT}, "not a valid key", id="no modulus"),
        pytest.param({"e": OMIT}, "not a valid key", id="no exponent"),
        pytest.param({"n": ""}, "not a valid key", id="empty modulus"),
        pytest.param({"n": 5}, "not a string", id="modulus no string"),
        pytest.param({"n": "é"}, "not a valid key", id="modulus no base64"),
        pytest.param({"n": "AA"}, "not a valid key", id="modulus zero"),
        pytest.param({"e": "AA"}, "not a valid key", id="exponent zero"),
        pytest.param({"e": "AQ"}, "not a valid key", id="exponent one"),
        pytest.param({"e": "Ag"}, "not a valid key", id="exponent even"),
        pytest.param({"n": uint(2**16383 + 1)}, "16384 RSA bits; 2048 to 8192", id="RSA 16384"),
        pytest.param({"n": uint(2**8192 + 1)}, "8193 RSA bits", id="RSA 8193"),
        pytest.param({"n": uint(2**2046 + 1)}, "2047 RSA bits", id="RSA 2047"),
        pytest.param({"n": uint(2**500_000 + 1)}, "", id="RSA of half a million bits"),
        pytest.param({"n": uint(2**1829 * SMALL_PRIMES + 1)}, "ROCA", id="a key of a broken generator"),
    ],
)
def test_a_bad_rsa_key_is_skipped_with_its_reason(pool: KeyPool, changes: JsonObject, reason: str) -> None:
    """It is secret, for another use, malformed, too small or too large. Other keys in the set are still used."""
    assert reason in why_skipped(pool.key("RS256").jwk(changes), pool)


def test_a_real_rsa_key_of_1024_bits_is_skipped(pool: KeyPool) -> None:
    """RFC 7518, section 3.3: 2048 bits or more."""
    assert "1024 RSA bits" in why_skipped(pool.key("RS256", shape=Shape.RSA_1024).jwk(), pool)


def test_a_complete_private_key_is_skipped(pool: KeyPool) -> None:
    """A published private key is not secret, so its signatures prove nothing."""
    private = pool.key("RS256").private
    assert isinstance(private, rsa.RSAPrivateKey)
    numbers = private.private_numbers()
    members = {"d": uint(numbers.d), "p": uint(numbers.p), "q": uint(numbers.q)}

    assert "private part" in why_skipped(pool.key("RS256").jwk(members), pool)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"crv": OMIT}, "not a valid key", id="no curve"),
        pytest.param({"crv": "P-192"}, "not a valid key", id="unknown curve"),
        pytest.param({"crv": "P-384"}, "not a valid key", id="another curve"),
        pytest.param({"crv": ["P-256"]}, "not a string", id="curve no string"),
        pytest.param({"y": OMIT}, "not a valid key", id="no y"),
        pytest.param(
            {"x": uint(2**255 + 1), "y": uint(2**255 + 3)}, "not a valid key", id="point off the curve"
        ),
        pytest.param(
            {"x": segment(bytes(32)), "y": segment(bytes(32))}, "not a valid key", id="point at zero"
        ),
        pytest.param({"x": "AQAB"}, "not a valid key", id="short coordinate"),
        pytest.param({"alg": "ES384"}, "'alg' does not match", id="alg of another curve"),
        pytest.param({"alg": "RS256"}, "'alg' does not match", id="alg of another type"),
    ],
)
def test_a_bad_ec_key_is_skipped_with_its_reason(pool: KeyPool, changes: JsonObject, reason: str) -> None:
    """RFC 7518, section 6.2: the point must be on the named curve."""
    assert reason in why_skipped(pool.key("ES256", 1).jwk(changes), pool)


def test_a_valid_point_on_an_unsupported_curve_is_skipped(pool: KeyPool) -> None:
    """The library supports secp256k1, but no algorithm here uses it."""
    point = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    key = {
        "kty": "EC",
        "crv": "secp256k1",
        "x": segment(point.x.to_bytes(32)),
        "y": segment(point.y.to_bytes(32)),
    }

    assert "its type or curve is not supported" in why_skipped(key, pool)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"crv": "X25519"}, "not a valid key", id="a curve for key agreement"),
        pytest.param({"crv": "Ed448"}, "not a valid key", id="another curve"),
        pytest.param({"x": "AAAA"}, "not a valid key", id="short key"),
        pytest.param({"x": OMIT}, "not a valid key", id="no key"),
        pytest.param({"alg": "ES256"}, "'alg' does not match", id="alg of another type"),
    ],
)
def test_a_bad_okp_key_is_skipped_with_its_reason(pool: KeyPool, changes: JsonObject, reason: str) -> None:
    """RFC 8037, section 2."""
    assert reason in why_skipped(pool.key("EdDSA", 1).jwk(changes), pool)


@pytest.mark.parametrize("bad", [None, 1, "key", [], True], ids=repr)
def test_an_entry_that_is_not_an_object_is_skipped(pool: KeyPool, bad: object) -> None:
    """RFC 7517, section 5: unknown things in `keys` are ignored."""
    assert why_skipped(bad, pool) == "key 1: not an object"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a JWK Set: not JSON", id="nothing"),
        pytest.param(b"<html>", "not a JWK Set: not JSON", id="HTML"),
        pytest.param(b"\xff", "not a JWK Set: not UTF-8", id="bytes"),
        pytest.param(b"[]", "not a JWK Set: not a JSON object", id="array"),
        pytest.param(b'{"keys":[],"keys":[]}', "not a JWK Set: a member occurs twice", id="keys twice"),
        pytest.param(b"{}", "not a JWK Set: 'keys'", id="no keys member"),
        pytest.param(b'{"keys":{}}', "not a JWK Set: 'keys'", id="keys no list"),
        pytest.param(b'{"keys":[]}', "no usable key", id="empty list"),
        pytest.param(b'{"keys":[{}]}', "no usable key; key 0: its 'kty'", id="no usable key"),
        pytest.param(b'{"kty":"RSA"}', "not a JWK Set: 'keys'", id="one key for a set"),
    ],
)
def test_a_document_without_a_usable_key_is_rejected(data: bytes, message: str) -> None:
    """The whole document is rejected, so the last valid one is still used."""
    with pytest.raises(KeyDocumentError, match=message):
        read_jwk_set(data, ORIGIN)


def test_only_the_first_reasons_are_listed() -> None:
    """The message of a set of bad keys is bounded."""
    with pytest.raises(KeyDocumentError) as caught:
        read(*[{}] * 50)
    assert str(caught.value).count("key ") == 3


def test_a_set_holds_at_most_a_hundred_keys(pool: KeyPool) -> None:
    """No issuer has more, and each key costs time for tokens without a kid."""
    key = pool.key("EdDSA").jwk()

    assert len(read(*[key] * MAX_KEYS).keys) == MAX_KEYS
    with pytest.raises(KeyDocumentError, match="101 keys; at most 100"):
        read(*[key] * (MAX_KEYS + 1))


def test_a_fingerprint_distinguishes_keys(pool: KeyPool) -> None:
    """It depends on the key and its id. A key that is read twice has one fingerprint."""
    key = pool.key("RS256", kid="a")
    twins = [
        key.jwk(),
        key.jwk(),
        key.jwk({"kid": "b"}),
        key.jwk({"alg": OMIT}),
        key.jwk({"kid": OMIT}),
        pool.key("RS256", 1, kid="a").jwk(),
    ]
    prints = [read(twin).keys[0].fingerprint for twin in twins]

    assert prints[0] == prints[1]
    assert len(set(prints)) == len(twins) - 1


def test_a_key_verifies_only_what_it_fits(pool: KeyPool) -> None:
    """For an algorithm that it does not fit, the result is false without an error."""
    signing = pool.key("PS256")
    (key,) = read(signing.jwk()).keys
    message, _, signature = signing.sign({}).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")

    assert key.verify("PS256", message.encode(), raw)
    assert not key.verify("PS256", message.encode() + b"x", raw)
    assert not key.verify("RS256", message.encode(), raw)
    assert not key.verify("HS256", message.encode(), raw)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("signature", [b"", b"\0", bytes(64), bytes(256), b"\xff" * 10_000], ids=len)
def test_any_bytes_can_be_verified_as_a_signature(pool: KeyPool, algorithm: str, signature: bytes) -> None:
    """The result is false without an error, for any length."""
    (key,) = read(pool.key(algorithm).jwk()).keys

    assert not key.verify(algorithm, b"message", signature)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e", "d"]),
        st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "AQAB", "verify"])
        | st.text(max_size=50)
        | st.none()
        | st.integers()
        | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_any_object_makes_a_key_or_a_reason(members: JsonObject) -> None:
    """No key document raises anything but `KeyDocumentError`."""
    try:
        found = read(members)
    except KeyDocumentError:
        return
    assert len(found.keys) == 1
