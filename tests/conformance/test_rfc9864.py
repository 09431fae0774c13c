"""RFC 9864, fully-specified algorithms: Ed25519 is a second name for EdDSA on that curve."""

from __future__ import annotations

import pytest

from authgate.dev.compact import OMIT
from authgate.dev.keys import Shape
from authgate.errors import Reason
from authgate.keys.jwk import KeyDocumentError
from tests.conformance.trusted import Trusted, claims, gate, judged, published, trusting
from tests.support.key_pool import KeyPool


@pytest.mark.parametrize("of_key", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("of_token", ["EdDSA", "Ed25519"])
async def test_both_names_mean_one_algorithm(pool: KeyPool, of_key: str | None, of_token: str) -> None:
    """A key with either name, or without a name, verifies tokens with either name."""
    key = pool.key("EdDSA", kid="key-1")
    jwk = key.jwk({"alg": OMIT if of_key is None else of_key})
    token = key.sign(claims(), {"alg": of_token})
    assert await judged(gate(Trusted((jwk,))), token) is Reason.AUTHENTICATED


async def test_ed448_is_not_named_ed25519(pool: KeyPool) -> None:
    """Keys and tokens of the other curve cannot have the name."""
    key = pool.key("EdDSA", shape=Shape.ED448, kid="key-1")
    with pytest.raises(KeyDocumentError, match="'alg' does not match its type"):
        published(key.jwk({"alg": "Ed25519"}))
    token = key.sign(claims(), {"alg": "Ed25519"})
    assert await judged(trusting(key), token) is Reason.ALGORITHM_NOT_ALLOWED
