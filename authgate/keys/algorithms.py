"""The supported signature algorithms and the keys for each of them (RFCs 7518, 8037, 9864 and 9964)."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from jwt.algorithms import get_default_algorithms

from authgate.keys.mldsa import MLDSA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

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
        **{name: ("AKP", frozenset({name})) for name in ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")},
    }
)
"""The key type and the curves of each algorithm, or for AKP the algorithms.

All are asymmetric, so `none` and HMAC cannot be configured.
"""


class Implementation(Protocol):
    """Verifies signatures with a public key of the right type."""

    def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:
        """Return whether a signature of a message is this key's."""
        ...


class _PKCS1:
    """RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2), by comparing the whole of what was signed.

    OpenSSL checks the padding, which must fill the key's length, and returns the rest. That has to be `prefix` and the
    hash: the DER encoding of DigestInfo in the notes of section 9.2. Compared with the library's own check, this saves
    a tenth of the time for a forged signature, which nearly always has a wrong padding, and less for a good one.
    """

    __slots__ = ("_hash", "_padding", "_prefix")

    def __init__(self, hash_name: str, prefix: str) -> None:
        self._padding = padding.PKCS1v15()
        self._hash = getattr(hashlib, hash_name)
        self._prefix = bytes.fromhex(prefix)

    def verify(self, msg: bytes, key: RSAPublicKey, sig: bytes) -> bool:
        """Return whether a signature of a message is this key's."""
        try:
            signed = key.recover_data_from_signature(sig, self._padding, None)
        except InvalidSignature:
            return False
        matches: bool = signed == self._prefix + self._hash(msg).digest()
        return matches


ALGORITHMS: Final[Mapping[str, Implementation]] = MappingProxyType(
    {
        **{name: _IMPLEMENTATIONS[name] for name in KEY_TYPES if name in _IMPLEMENTATIONS},
        "RS256": _PKCS1("sha256", "30 31 30 0d 06 09 60 86 48 01 65 03 04 02 01 05 00 04 20"),
        "RS384": _PKCS1("sha384", "30 41 30 0d 06 09 60 86 48 01 65 03 04 02 02 05 00 04 30"),
        "RS512": _PKCS1("sha512", "30 51 30 0d 06 09 60 86 48 01 65 03 04 02 03 05 00 04 40"),
        "Ed25519": _IMPLEMENTATIONS["EdDSA"],
        **dict.fromkeys(("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"), MLDSA()),
    }
)
"""The implementation of each algorithm: PyJWT's, except for RS256, RS384, RS512 and ML-DSA."""


_ED25519: Final = frozenset({"EdDSA", "Ed25519"})


def same_algorithms(name: str) -> frozenset[str]:
    """Return all names of an algorithm for a key that fits it: EdDSA on the curve Ed25519 has two (RFC 9864)."""
    return _ED25519 if name in _ED25519 else frozenset({name})


def algorithms_for(kty: str, crv: str | None) -> frozenset[str]:
    """Return the algorithms for a key type and curve; none for unknown ones."""
    return frozenset(
        name for name, (type_, curves) in KEY_TYPES.items() if type_ == kty and (not curves or crv in curves)
    )
