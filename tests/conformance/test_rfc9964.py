"""RFC 9964, ML-DSA in JOSE: the RFC's own examples, tokens, and what is no key."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import segment
from authgate.errors import Reason
from authgate.keys.jwk import KeyDocumentError, read_pem_keys
from authgate.vocabulary import DEFAULT_ALGORITHMS
from tests.conformance.trusted import Trusted, claims, gate, judged, jws_accepted, published
from tests.support.vectors import rfc_example

if TYPE_CHECKING:
    from tests.support.key_pool import KeyPool

NAMES = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")


@pytest.mark.parametrize("name", NAMES)
def test_the_example_verifies(name: str) -> None:
    """Appendix A: the RFC's signature by the RFC's key, and no changed one."""
    example = rfc_example(f"RFC 9964 {name}")
    keys = published(example["key"])
    assert jws_accepted(keys, example["jws"])
    head, payload, signature = example["jws"].split(".")
    changed = bytearray(base64.urlsafe_b64decode(signature + "=="))
    changed[10] ^= 1
    assert not jws_accepted(keys, f"{head}.{payload}.{segment(bytes(changed))}")
    assert not jws_accepted(keys, f"{head}.{payload[:-4]}.{signature}")
    assert not jws_accepted(keys, f"{head}.{payload}.{segment(bytes(changed[:-1]))}")


@pytest.mark.parametrize("name", NAMES)
async def test_a_token_is_accepted_only_where_its_algorithm_is_named(pool: KeyPool, name: str) -> None:
    """By the default it is not, and neither is another of the three."""
    key = pool.key(name, kid="key-1")
    issuer = Trusted((key.jwk(),), algorithms=frozenset({name}))
    token = key.sign(claims())
    assert await judged(gate(issuer), token) is Reason.AUTHENTICATED
    for others in (frozenset(DEFAULT_ALGORITHMS), frozenset(NAMES) - {name}):
        refused = replace(issuer, algorithms=others)
        assert await judged(gate(refused), token) is Reason.ALGORITHM_NOT_ALLOWED
    forged = pool.key(name, 1, kid="key-1").sign(claims())
    assert await judged(gate(issuer), forged) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alg": None}, "'alg' or 'pub' is missing"),
        ({"pub": None}, "'alg' or 'pub' is missing"),
        ({"pub": "AAA="}, "'alg' or 'pub' is missing or malformed"),
        ({"pub": "AAAA"}, "are not a valid key"),
        ({"alg": "ML-DSA-65"}, "are not a valid key"),
        ({"alg": "ML-DSA-45"}, "is not supported"),
        ({"alg": "RS256"}, "is not supported"),
        ({"priv": "AAAA"}, "contains its private part"),
        ({"kty": "OKP"}, "are not a valid key"),
    ],
)
def test_a_malformed_key_is_refused(pool: KeyPool, changes: dict[str, object], reason: str) -> None:
    """Section 3: `alg` is required, and `pub` has the length of its algorithm."""
    jwk = {**pool.key("ML-DSA-44").jwk(), **changes}
    with pytest.raises(KeyDocumentError, match=reason):
        published({name: value for name, value in jwk.items() if value is not None})


@pytest.mark.parametrize("name", NAMES)
def test_a_pem_key_is_read(pool: KeyPool, name: str) -> None:
    """As a static key."""
    signing = pool.key(name)
    (key,) = read_pem_keys(signing.public_pem(), "test").keys
    assert key.info.kty == "AKP"
    assert key.algorithms == {name}
    assert key.verify(name, b"message", signing.signature(b"message"))


def test_the_largest_token_fits_the_limit(pool: KeyPool) -> None:
    """With a kilobyte of claims, an ML-DSA-87 token is about half of limits.maxTokenBytes."""
    token = pool.key("ML-DSA-87").sign(claims({"groups": ["g" * 10] * 80}))
    assert 7000 < len(token) < 8192
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == "ML-DSA-87"
