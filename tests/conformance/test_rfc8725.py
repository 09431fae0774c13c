"""RFC 8725, JSON Web Token best current practices, sections 3.1 to 3.7: algorithms, keys, signatures, encodings."""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import OMIT, compact, json_bytes, segment
from authgate.dev.keys import Shape, SigningKey
from authgate.errors import Reason
from authgate.keys.algorithms import ALGORITHMS
from authgate.keys.jwk import KeyDocumentError, read_jwk_set
from tests.conformance.trusted import Trusted, claims, gate, judged, trusting
from tests.support.key_pool import KeyPool

if TYPE_CHECKING:
    from collections.abc import Callable

HMAC_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


@pytest.fixture(scope="module")
def key(pool: KeyPool) -> SigningKey:
    """The issuer's key. It is an RSA key, because the classic confusions use RSA keys."""
    return pool.key("RS256", kid="issuer-key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_3_1_each_algorithm_verifies_with_its_own_key(pool: KeyPool, algorithm: str) -> None:
    """A token is accepted with each configurable algorithm."""
    key = pool.key(algorithm)
    assert await judged(trusting(key), key.sign(claims())) is Reason.AUTHENTICATED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_3_1_only_allowed_algorithms_are_accepted(pool: KeyPool, algorithm: str) -> None:
    """A valid signature with an algorithm that the issuer's configuration does not allow is rejected."""
    key = pool.key(algorithm)
    others = frozenset(ALGORITHMS) - {algorithm}
    verifier = gate(Trusted((key.jwk(),), algorithms=others))
    assert await judged(verifier, key.sign(claims())) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize(
    ("algorithm", "claimed"),
    [
        ("RS256", "PS256"),
        ("PS256", "RS256"),
        ("RS256", "RS512"),
        ("RS256", "ES256"),
        ("ES256", "ES384"),
        ("ES512", "ES256"),
        ("ES256", "RS256"),
        ("ES256", "EdDSA"),
        ("EdDSA", "ES256"),
    ],
)
async def test_3_1_a_key_has_one_algorithm(pool: KeyPool, algorithm: str, claimed: str) -> None:
    """A token with another algorithm than that of its key is rejected before a signature is verified."""
    key = pool.key(algorithm)
    token = pool.key(claimed).sign(claims(), {"kid": key.kid})
    assert await judged(trusting(key), token) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize(
    "algorithm", ["rs256", "Rs256", "RS256 ", " RS256", "RS256\x00", "RS-256", "RSA", ""]
)
async def test_3_1_algorithm_names_are_exact(key: SigningKey, algorithm: str) -> None:
    """The name of an algorithm must match exactly."""
    assert await judged(trusting(key), key.sign(claims(), {"alg": algorithm})) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("signature", [b"", b"x"], ids=["no signature", "some signature"])
@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE", "none "])
async def test_3_2_alg_none_is_rejected(key: SigningKey, none: str, signature: bytes) -> None:
    """An unsecured token is rejected in every spelling of `none`."""
    header = json_bytes({"alg": none, "kid": key.kid})
    token = compact(header, json_bytes(claims()), signature)
    assert await judged(trusting(key), token) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_3_2_none_and_hmac_are_rejected_even_if_allowed(key: SigningKey, algorithm: str) -> None:
    """No configuration can allow `none` or HMAC. Even if it could, no key would match."""
    verifier = gate(Trusted((key.jwk({"alg": OMIT}),), algorithms=frozenset({algorithm, "RS256"})))
    token = compact(json_bytes({"alg": algorithm}), json_bytes(claims()), b"")
    assert await judged(verifier, token) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize("name", ["none", *HMAC_DIGESTS, "RS1", "ES256K", "dir", "A128KW", "RSA-OAEP"])
def test_3_2_weak_and_symmetric_algorithms_do_not_exist(name: str) -> None:
    """`none`, HMAC and broken algorithms cannot be configured."""
    assert name not in ALGORITHMS


@pytest.mark.parametrize("algorithm", HMAC_DIGESTS)
@pytest.mark.parametrize(
    "secret",
    [
        SigningKey.public_pem,
        lambda key: key.public_pem().strip(),
        lambda key: json.dumps(key.jwk()).encode(),
        lambda key: str(key.jwk()["n"]).encode(),
        lambda _: b"",
    ],
    ids=["PEM", "PEM without line end", "JWK", "modulus", "empty"],
)
async def test_3_2_a_public_key_is_not_an_hmac_secret(
    key: SigningKey, algorithm: str, secret: Callable[[SigningKey], bytes]
) -> None:
    """A token with an HMAC whose secret is the public key, in any format, is rejected."""
    header = json_bytes({"alg": algorithm, "kid": key.kid})
    signing_input = f"{segment(header)}.{segment(json_bytes(claims()))}"
    mac = hmac.digest(secret(key), signing_input.encode(), HMAC_DIGESTS[algorithm])
    assert await judged(trusting(key), f"{signing_input}.{segment(mac)}") is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda signature: signature[:-1],
        lambda signature: signature + b"\x00",
        lambda signature: b"\x00" + signature,
        lambda signature: signature * 2,
        lambda signature: signature[::-1],
        lambda signature: bytes(len(signature)),
        lambda signature: b"\xff" * len(signature),
        lambda signature: signature[:-1] + bytes([signature[-1] ^ 1]),
        lambda signature: bytes([signature[0] ^ 0x80]) + signature[1:],
    ],
    ids=["empty", "cut", "longer", "shifted", "twice", "reversed", "zeros", "ones", "last bit", "first bit"],
)
async def test_3_3_changed_signatures_are_rejected(
    pool: KeyPool, algorithm: str, spoil: Callable[[bytes], bytes]
) -> None:
    """A signature that the key did not make over exactly this text is rejected without an error."""
    key = pool.key(algorithm)
    header, payload = json_bytes({"alg": algorithm, "kid": key.kid}), json_bytes(claims())
    signing_input = f"{segment(header)}.{segment(payload)}".encode()
    signature = key.signature(signing_input)
    assert await judged(trusting(key), compact(header, payload, spoil(signature))) is Reason.SIGNATURE_INVALID


async def test_3_3_the_signature_of_another_token_is_rejected(key: SigningKey) -> None:
    """The key made the signature over other claims."""
    header, payload, _ = key.sign(claims({"sub": "mallory"})).split(".")
    signature = key.sign(claims()).rpartition(".")[2]
    assert await judged(trusting(key), f"{header}.{payload}.{signature}") is Reason.SIGNATURE_INVALID


P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
_ZERO, _ONES = segment(bytes(32)), segment(b"\xff" * 32)
BAD_POINTS = {
    "off the curve": {"y": P256["x"]},
    "the origin": {"x": _ZERO, "y": _ZERO},
    "beyond the field": {"x": _ONES, "y": _ONES},
    "of another curve": {"crv": "P-384"},
    "on a curve that is not allowed": {"crv": "secp256k1"},
    "without y": {"y": ""},
    "too short": {"x": segment(b"\x01")},
    "too long": {"x": segment(b"\x00" + b"\x01" * 32)},
    "no base64url": {"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRV*="},
    "a number": {"x": 1},
}


@pytest.mark.parametrize("changes", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_3_4_keys_with_invalid_points_are_rejected(changes: dict[str, object]) -> None:
    """An EC key with a point that is not on its curve, or with an unsupported curve, is rejected when it is read."""
    with pytest.raises(KeyDocumentError):
        read_jwk_set(json.dumps({"keys": [{**P256, **changes}]}).encode(), "test")


def _integer(value: int) -> str:
    return segment(value.to_bytes((value.bit_length() + 7) // 8 or 1))


_SOUND_SIZE = (1 << 2047) + 981  # not a product of two primes, which no reader of keys could detect
WEAK_RSA = {
    "1024 bits": {"n": _integer((1 << 1023) + 981), "e": "AQAB"},
    "2047 bits": {"n": _integer((1 << 2046) + 981), "e": "AQAB"},
    "16384 bits": {"n": _integer((1 << 16383) + 981), "e": "AQAB"},
    "exponent 1": {"n": _integer(_SOUND_SIZE), "e": _integer(1)},
    "exponent 0": {"n": _integer(_SOUND_SIZE), "e": _integer(0)},
    "even exponent": {"n": _integer(_SOUND_SIZE), "e": _integer(65536)},
    "exponent beyond the modulus": {"n": _integer(_SOUND_SIZE), "e": _integer(1 << 2048)},
    "a broken generator's": {"n": _integer(pow(65537, 200)), "e": "AQAB"},
    "no exponent": {"n": _integer(_SOUND_SIZE)},
    "no modulus": {"e": "AQAB"},
}


def test_3_5_each_weak_key_of_the_table_has_one_weakness() -> None:
    """The unchanged modulus of the table makes a valid key."""
    jwk = {"kty": "RSA", "n": _integer(_SOUND_SIZE), "e": "AQAB"}
    assert read_jwk_set(json.dumps({"keys": [jwk]}).encode(), "test").keys


@pytest.mark.parametrize("members", WEAK_RSA.values(), ids=WEAK_RSA.keys())
def test_3_5_weak_rsa_keys_are_rejected(members: dict[str, str]) -> None:
    """An RSA key that is too short, too long or has invalid numbers is rejected when it is read."""
    with pytest.raises(KeyDocumentError):
        read_jwk_set(json.dumps({"keys": [{"kty": "RSA", **members}]}).encode(), "test")


async def test_3_5_a_weak_key_verifies_nothing(pool: KeyPool, key: SigningKey) -> None:
    """A token signed with an RSA key of 1024 bits is rejected, even though its issuer publishes that key."""
    weak = pool.key("RS256", shape=Shape.RSA_1024)
    assert await judged(trusting(key, weak), weak.sign(claims())) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize("secret", ["", "c2VjcmV0", segment(bytes(64))], ids=["empty", "a word", "64 bytes"])
async def test_3_5_shared_secrets_are_skipped(key: SigningKey, secret: str) -> None:
    """A symmetric key in an issuer's key set is skipped, and a token with its HMAC is rejected."""
    shared = {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256"}
    header = json_bytes({"alg": "HS256", "kid": "shared"})
    signing_input = f"{segment(header)}.{segment(json_bytes(claims()))}"
    mac = hmac.digest(secret.encode(), signing_input.encode(), hashlib.sha256)
    verifier = gate(Trusted((key.jwk(), shared)))
    assert await judged(verifier, f"{signing_input}.{segment(mac)}") is Reason.ALGORITHM_NOT_ALLOWED


async def test_3_6_compressed_and_encrypted_tokens_are_rejected(key: SigningKey) -> None:
    """An encrypted token is rejected, so nothing is decompressed."""
    header = segment(b'{"alg":"dir","enc":"A128GCM","zip":"DEF"}')
    assert await judged(trusting(key), f"{header}..AAAA.AAAA.AAAA") is Reason.TOKEN_ENCRYPTED


async def test_3_6_zip_is_ignored_in_a_signed_token(key: SigningKey) -> None:
    """A signed payload is read without decompression, whatever the value of `zip`."""
    header = json_bytes({"alg": "RS256", "kid": key.kid, "zip": "DEF"})
    token = key.sign_raw(header, zlib.compress(json_bytes(claims())))
    assert await judged(trusting(key), token) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("part", ["header", "payload"])
async def test_3_7_only_utf_8_is_accepted(key: SigningKey, part: str, encoding: str) -> None:
    """A header or payload in another encoding than UTF-8, or with a byte order mark, is rejected."""
    pieces = {"header": {"alg": "RS256", "kid": key.kid, "x": "é"}, "payload": claims({"sub": "é"})}
    encoded = {
        name: json.dumps(members, ensure_ascii=False).encode(encoding if name == part else "utf-8")
        for name, members in pieces.items()
    }
    token = key.sign_raw(encoded["header"], encoded["payload"])
    assert await judged(trusting(key), token) is Reason.TOKEN_MALFORMED
