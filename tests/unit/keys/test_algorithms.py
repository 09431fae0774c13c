"""Which algorithms can be allowed at all, and which keys each fits."""

from __future__ import annotations

import pytest

from authgate.keys.algorithms import ALGORITHMS, KEY_TYPES, algorithms_for

ML_DSA = {"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}
RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def test_only_asymmetric_algorithms_exist() -> None:
    """`none` and HMAC have no name here, so no configuration can allow them (RFC 8725, section 3.2)."""
    assert set(ALGORITHMS) == {*RSA, "ES256", "ES384", "ES512", "EdDSA", "Ed25519", *ML_DSA}


def test_every_algorithm_has_its_key_type() -> None:
    """The two tables go together."""
    assert set(ALGORITHMS) == set(KEY_TYPES)


@pytest.mark.parametrize(
    ("kty", "crv", "algorithms"),
    [
        ("RSA", None, RSA),
        ("EC", "P-256", {"ES256"}),
        ("EC", "P-384", {"ES384"}),
        ("EC", "P-521", {"ES512"}),
        ("OKP", "Ed25519", {"EdDSA", "Ed25519"}),
        ("OKP", "Ed448", {"EdDSA"}),
        ("OKP", "X25519", set()),
        ("EC", "secp256k1", set()),
        ("EC", None, set()),
        ("AKP", "ML-DSA-44", {"ML-DSA-44"}),
        ("AKP", None, set()),
        ("oct", None, set()),
    ],
)
def test_a_key_fits_the_algorithms_of_its_type_and_curve(
    kty: str, crv: str | None, algorithms: set[str]
) -> None:
    """RFC 7518, section 3.1, and RFC 8037, section 3.1."""
    assert algorithms_for(kty, crv) == algorithms
