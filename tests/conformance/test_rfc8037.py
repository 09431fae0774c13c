"""RFC 8037, EdDSA in JOSE: the RFC's own Ed25519 example, and keys that are not for signatures."""

from __future__ import annotations

import pytest

from authgate.dev.keys import Shape
from authgate.errors import Reason
from authgate.keys.jwk import KeyDocumentError
from tests.conformance.trusted import claims, judged, jws_accepted, published, trusting
from tests.support.key_pool import KeyPool
from tests.support.vectors import rfc_example


def test_appendix_a_4_verifies() -> None:
    """The RFC's Ed25519 signature verifies with the RFC's key."""
    example = rfc_example("RFC 8037 A.4")
    assert jws_accepted(published(example["key"]), example["jws"])


def test_appendix_a_4_changed_does_not_verify() -> None:
    """The signature does not verify another payload."""
    example = rfc_example("RFC 8037 A.4")
    assert not jws_accepted(published(example["key"]), example["jws"].replace(".RXh", ".SXh"))


def test_appendix_a_6_is_not_a_key_for_signatures() -> None:
    """An X25519 key, for key agreement, is rejected."""
    with pytest.raises(KeyDocumentError, match="no usable key"):
        published(rfc_example("RFC 8037 A.6")["key"])


@pytest.mark.parametrize("shape", ["Ed25519", "Ed448"])
async def test_section_3_1_eddsa_covers_both_curves(pool: KeyPool, shape: str) -> None:
    """Tokens signed with Ed25519 and Ed448 are accepted, both with the algorithm EdDSA."""
    key = pool.key("EdDSA", shape=Shape(shape))
    assert await judged(trusting(key), key.sign(claims())) is Reason.AUTHENTICATED


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("x", ""),
        ("x", "AAAA"),
        ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURoA"),
        ("crv", "Ed448"),
        ("crv", "ed25519"),
        ("crv", "P-256"),
        ("kty", "EC"),
        ("kty", "okp"),
        ("alg", "ES256"),
        ("d", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"),
    ],
)
def test_section_2_malformed_keys_are_rejected(member: str, value: str) -> None:
    """A key of the wrong length, curve, type or algorithm, or with its private part, is rejected."""
    with pytest.raises(KeyDocumentError):
        published({**rfc_example("RFC 8037 A.4")["key"], member: value})
