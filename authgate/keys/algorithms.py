"""The supported signature algorithms and the keys for each of them (RFC 7518, section 3.1; RFC 8037; RFC 9864)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jwt.algorithms import get_default_algorithms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwt.algorithms import Algorithm

_IMPLEMENTATIONS: Final = get_default_algorithms()

KEY_TYPES: Final[Mapping[str, tuple[str, frozenset[str]]]] = MappingProxyType(
    {
        **{
            name: ("RSA", frozenset[str]()) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        },
        "ES256": ("EC", frozenset({"P-256"})),
        "ES384": ("EC", frozenset({"P-384"})),
        "ES512": ("EC", frozenset({"P-521"})),
        "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
        "Ed25519": ("OKP", frozenset({"Ed25519"})),
    }
)
"""The key type and the curves of each algorithm. All are asymmetric, so `none` and HMAC cannot be configured."""

ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {name: _IMPLEMENTATIONS["EdDSA" if name == "Ed25519" else name] for name in KEY_TYPES}
)
"""PyJWT's implementation of each algorithm."""


_ED25519: Final = frozenset({"EdDSA", "Ed25519"})


def same_algorithms(name: str) -> frozenset[str]:
    """Return all names of an algorithm for a key that fits it: EdDSA on the curve Ed25519 has two (RFC 9864)."""
    return _ED25519 if name in _ED25519 else frozenset({name})


def algorithms_for(kty: str, crv: str | None) -> frozenset[str]:
    """Return the algorithms for a key type and curve; none for unknown ones."""
    return frozenset(
        name for name, (type_, curves) in KEY_TYPES.items() if type_ == kty and (not curves or crv in curves)
    )
