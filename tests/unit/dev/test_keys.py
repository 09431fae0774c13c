from __future__ import annotations

import json
from typing import cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms
from jwt.types import JWKDict

from authgate.dev.compact import OMIT, JsonObject, compact, json_bytes
from authgate.dev.keys import USUAL_SHAPES, Shape, SigningKey, key_id
from tests.support.key_pool import KeyPool

CLAIMS: JsonObject = {"sub": "somebody"}


@pytest.mark.parametrize("algorithm", sorted(get_default_algorithms().keys() & USUAL_SHAPES.keys()))
def test_pyjwt_verifies_a_token_with_the_published_key(pool: KeyPool, algorithm: str) -> None:
    """PyJWT needs only the key's JWK."""
    key = pool.key(algorithm)
    published = jwt.PyJWK(cast("JWKDict", key.jwk()))
    assert jwt.decode(key.sign(CLAIMS), published, algorithms=[algorithm]) == CLAIMS


@pytest.mark.parametrize("shape", [Shape.ED448, Shape.RSA_1024])
def test_keys_of_other_shapes_can_sign(shape: Shape) -> None:
    """The public half verifies signatures of a key with an unusual size or curve for its algorithm."""
    key = SigningKey.generate("EdDSA" if shape is Shape.ED448 else "RS256", shape=shape)
    header, payload, signature = key.sign(CLAIMS).encode().split(b".")
    assert jwt.get_algorithm_by_name(key.algorithm).verify(
        header + b"." + payload, key.public, jwt.utils.base64url_decode(signature)
    )


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        ("RS256", {"alg", "e", "kid", "kty", "n", "use"}),
        ("ES512", {"alg", "crv", "kid", "kty", "use", "x", "y"}),
        ("EdDSA", {"alg", "crv", "kid", "kty", "use", "x"}),
    ],
)
def test_a_jwk_has_only_the_public_half(pool: KeyPool, algorithm: str, members: set[str]) -> None:
    """A JWK has the members of a kube-apiserver's JWK, and no private member."""
    assert set(pool.key(algorithm).jwk()) == members


def test_a_jwk_can_be_changed(pool: KeyPool) -> None:
    """A test can add, replace and leave out members of a JWK."""
    changed = pool.key("ES256").jwk({"use": "enc", "alg": OMIT, "key_ops": ["encrypt"]})
    assert (changed["use"], changed["key_ops"], "alg" in changed) == ("enc", ["encrypt"], False)


def test_a_token_header_is_the_one_of_a_kube_apiserver(pool: KeyPool) -> None:
    """The header holds alg and kid in this order and no typ."""
    key = pool.key("ES256", kid="one")
    assert key.sign({}).split(".")[0] == compact(b'{"alg":"ES256","kid":"one"}', b"", b"").split(".")[0]


def test_a_header_can_be_changed(pool: KeyPool) -> None:
    """A test can add, replace and leave out members of a header."""
    token = pool.key("ES256").sign(CLAIMS, {"kid": OMIT, "alg": "HS256", "jku": "https://elsewhere"})
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "jku": "https://elsewhere"}


def test_raw_bytes_are_signed_unchanged(pool: KeyPool) -> None:
    """Malformed parts are unchanged, and the signature is valid."""
    key = pool.key("ES256")
    token = key.sign_raw(b'{"alg":"ES256","alg":"ES256"}', b"\xff no JSON")
    assert jwt.PyJWS().decode(token, key.public, algorithms=["ES256"]) == b"\xff no JSON"


def test_the_usual_kid_is_the_one_of_a_kube_apiserver() -> None:
    """The kid is the base64url SHA-256 of the key's DER. A real server gave this key the same kid."""
    numbers = rsa.RSAPublicNumbers(
        e=65537,
        n=int.from_bytes(
            jwt.utils.base64url_decode(
                "1-F3UF15VEtI22O-LzSh5HmbXpFYOA9sx4Rsol0lNfVkFypac3KNRwCByb0-Iiw8djGkwypuZEje5Mxbtt0_YrIawMukFa9z"
                "ZPZ_eYGxQCGkA5w3Xbp2PoA339SNJHypsdYb5XFtMPgmQFvDlBq19DbXjvS5S3pBBQabka4haHg5w5auElGLEU4JViWjTole"
                "sXB6kAZE9BVnL3E0QAnmfwTbmiN8aLFxq4hSOLTZFSq34iQ1qSHrx9JPqhzy_WG5WxZL6DtMUTTUeigq0AaQApP7jo_j5bjo"
                "s7khjmaNMXicZC1M491hsJDox4XwOy-OGhZXyYA_wLEEYpSk_Tlfgw"
            )
        ),
    )
    assert key_id(numbers.public_key()) == "jbCu2_4P_zxoUNefGOixZS6XjHONNbMWmIOzf19uEk0"


def test_a_key_can_have_no_kid(pool: KeyPool) -> None:
    """Neither its JWK nor its tokens have a kid."""
    key = pool.key("ES256").without_kid()
    assert "kid" not in key.jwk()
    assert "kid" not in jwt.get_unverified_header(key.sign(CLAIMS))


def test_the_pool_returns_the_same_private_key(pool: KeyPool) -> None:
    """The same index and shape give the same private key, also for another algorithm."""
    assert pool.key("RS256").private is pool.key("PS512").private


def test_the_pool_has_further_keys(pool: KeyPool) -> None:
    """Another index is another private key."""
    assert pool.key("ES256", 1).private is not pool.key("ES256").private


def test_a_successor_is_of_the_same_kind() -> None:
    """A rotated key has the same algorithm and shape, and another kid."""
    key = SigningKey.generate("EdDSA", shape=Shape.ED448)
    successor = key.successor()
    assert (successor.algorithm, successor.shape) == (key.algorithm, key.shape)
    assert successor.kid != key.kid


def test_an_unknown_algorithm_is_refused() -> None:
    """The error lists the known algorithms."""
    with pytest.raises(ValueError, match=r"'HS256': choose one of RS256, .*EdDSA"):
        SigningKey.generate("HS256")


def test_a_private_key_has_no_repr(pool: KeyPool) -> None:
    """The repr names the key and has no part of its private half."""
    assert "private" not in repr(pool.key("ES256"))


def test_the_public_pem_is_that_of_the_key(pool: KeyPool) -> None:
    """The PEM loads as the public half."""
    key = pool.key("ES256")
    assert load_pem_public_key(key.public_pem()) == key.public


def test_json_is_sorted_and_without_spaces() -> None:
    """Objects are written as Go writes a map."""
    assert json_bytes({"b": [1, None], "a": "ü"}) == b'{"a":"\\u00fc","b":[1,null]}'
    assert json.loads(json_bytes({"a": "\ud800"})) == {"a": "\ud800"}
