"""Which keys of a set are tried for a token."""

from __future__ import annotations

from math import inf

import pytest

from authgate.dev.compact import OMIT, json_bytes
from authgate.dev.keys import SigningKey
from authgate.keys.jwk import VerificationKey, read_jwk_set, read_pem_keys
from authgate.keys.key_set import (
    KeyIndex,
    KeyMismatch,
    KeysFound,
    KeyStatus,
    KeyUnknown,
    LocalLookup,
    StaticKeySet,
)
from authgate.model import RevocationHandle
from tests.support.key_pool import KeyPool


def key_of(signing: SigningKey, *, alg: bool = True) -> VerificationKey:
    """Return the key of a JWK. Without `alg` it fits every algorithm of its type."""
    return read_jwk_set(json_bytes({"keys": [signing.jwk({} if alg else {"alg": OMIT})]}), "a test").keys[0]


def kids(found: LocalLookup) -> list[str]:
    """Return the kids of the keys found."""
    assert isinstance(found, KeysFound), found
    return [key.info.kid for key in found.keys]


@pytest.fixture
def index(pool: KeyPool) -> KeyIndex:
    """Two RSA keys, one for PSS only, an EC key, and one RSA key without a kid."""
    return KeyIndex(
        [
            key_of(pool.key("RS256", 0, kid="rsa"), alg=False),
            key_of(pool.key("PS256", 1, kid="pss")),
            key_of(pool.key("ES256", kid="ec")),
            key_of(pool.key("RS256", 1).without_kid()),
        ]
    )


@pytest.mark.parametrize(
    ("kid", "algorithm", "found"),
    [
        pytest.param("rsa", "RS256", ["rsa"], id="kid and algorithm"),
        pytest.param("rsa", "PS512", ["rsa"], id="another algorithm of the type"),
        pytest.param("ec", "ES256", ["ec"], id="another type"),
        pytest.param(None, "RS256", ["rsa", ""], id="no kid: every key that fits"),
        pytest.param(None, "PS256", ["rsa", "pss"], id="no kid: not those for another algorithm"),
        pytest.param("", "RS256", [""], id="empty kid: the key without one"),
    ],
)
def test_keys_are_chosen_by_kid_and_algorithm(
    index: KeyIndex, kid: str | None, algorithm: str, found: list[str]
) -> None:
    """With a kid this is only the key with that kid. Without one it is every key that fits."""
    assert kids(index.find(kid, algorithm)) == found


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [
        pytest.param("ec", "RS256", id="EC key for RSA"),
        pytest.param("rsa", "ES256", id="RSA key for EC"),
        pytest.param("pss", "RS256", id="PSS key for PKCS 1"),
        pytest.param("ec", "ES384", id="the wrong curve"),
        pytest.param("rsa", "HS256", id="public key as HMAC secret"),
        pytest.param("rsa", "none", id="no algorithm"),
        pytest.param("rsa", "", id="empty algorithm"),
    ],
)
def test_a_known_kid_with_an_algorithm_that_does_not_fit_is_a_mismatch(
    index: KeyIndex, kid: str, algorithm: str
) -> None:
    """RFC 8725, section 3.1: the key decides which algorithm it may verify, not the token."""
    assert index.find(kid, algorithm) == KeyMismatch(kid, RevocationHandle())


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [
        pytest.param("other", "RS256", id="unknown kid"),
        pytest.param("RSA", "RS256", id="kid in another case"),
        pytest.param("rsa ", "RS256", id="kid with a space"),
        pytest.param(None, "ES512", id="no kid and no key that fits"),
        pytest.param(None, "none", id="no kid and no algorithm"),
        pytest.param("other", "none", id="neither known"),
    ],
)
def test_an_unknown_kid_is_undecided(index: KeyIndex, kid: str | None, algorithm: str) -> None:
    """A fetch may bring the key."""
    assert index.find(kid, algorithm) is None


def test_a_key_from_pem_fits_any_kid(pool: KeyPool) -> None:
    """PEM has no kid, so such keys are tried for tokens with and without a kid, if the algorithm fits."""
    index = KeyIndex(read_pem_keys(pool.key("RS256").public_pem(), "keys.pem").keys)

    assert kids(index.find("any", "RS256")) == [""]
    assert kids(index.find(None, "RS256")) == [""]
    assert index.find("any", "ES256") is None


def test_two_keys_with_one_kid_are_distinguished_by_type(pool: KeyPool) -> None:
    """RFC 7517, section 4.5: keys of different types can have the same kid."""
    index = KeyIndex([key_of(pool.key("RS256", kid="same")), key_of(pool.key("ES256", kid="same"))])
    found = index.find("same", "ES256")

    assert isinstance(found, KeysFound)
    assert [key.info.kty for key in found.keys] == ["EC"]


def test_at_most_eight_keys_are_tried(pool: KeyPool) -> None:
    """A token without a kid costs a bounded number of signatures."""
    index = KeyIndex([key_of(pool.key("EdDSA", number)) for number in range(20)])
    found = index.find(None, "EdDSA")

    assert isinstance(found, KeysFound)
    assert found.keys == index.keys[:8]


def test_a_lookup_returns_the_handle_of_the_set(index: KeyIndex) -> None:
    """Verdicts that depend on the whole set are revoked with it."""
    found = index.find("rsa", "RS256")

    assert isinstance(found, KeysFound)
    assert found.handle is index.handle


def test_clients_cannot_make_the_index_grow(index: KeyIndex) -> None:
    """Only the set's own kids and known algorithms are cached."""
    for number in range(10_000):
        index.find(f"kid-{number}", "RS256")
        index.find("rsa", f"alg-{number}")
        index.find(None, f"alg-{number}")
    index.find("rsa", "RS256")

    assert len(index._fitting) == 1


def test_a_cached_answer_equals_the_first_one(index: KeyIndex) -> None:
    """This includes the answer that no key matches."""
    for kid, algorithm in (("rsa", "RS256"), ("ec", "RS256"), (None, "ES512")):
        assert index.find(kid, algorithm) is index.find(kid, algorithm)


async def test_static_keys_answer_without_a_fetch(pool: KeyPool) -> None:
    """A missing key never appears later."""
    keys = StaticKeySet([key_of(pool.key("RS256", kid="rsa"))])

    assert kids(keys.find("rsa", "RS256")) == ["rsa"]
    assert keys.find("other", "RS256") is None
    assert isinstance(await keys.resolve("rsa", "RS256"), KeysFound)
    assert await keys.resolve("rsa", "ES256") == KeyMismatch("rsa", RevocationHandle())
    assert await keys.resolve("other", "RS256") == KeyUnknown()
    assert keys.status() == KeyStatus(usable=True, detail="1 static key")


async def test_static_keys_are_never_replaced(pool: KeyPool) -> None:
    """A signature that they do not verify is invalid at once."""
    keys = StaticKeySet([key_of(pool.key("ES256", kid="a"))])

    assert keys.recheck_at() == inf
    assert await keys.recheck("a", "ES256") == keys.find("a", "ES256")
