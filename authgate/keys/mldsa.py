"""ML-DSA keys (FIPS 204, RFC 9964), which cryptography has only in new versions, and with an OpenSSL that has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:  # an older version
    _CLASSES: dict[str, Any] = {}
else:
    _CLASSES = {
        "ML-DSA-44": mldsa.MLDSA44PublicKey,
        "ML-DSA-65": mldsa.MLDSA65PublicKey,
        "ML-DSA-87": mldsa.MLDSA87PublicKey,
    }

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZES: Final[Mapping[str, int]] = {"ML-DSA-44": 1312, "ML-DSA-65": 1952, "ML-DSA-87": 2592}


class _Library(Protocol):
    """A public key of cryptography."""

    def verify(self, signature: bytes, data: bytes) -> None: ...

    def public_bytes_raw(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class MLDSAPublicKey:
    """A public key with its one algorithm."""

    algorithm: str
    key: _Library

    @classmethod
    def from_bytes(cls, algorithm: str, data: bytes) -> MLDSAPublicKey:
        """Read a raw public key; raises ValueError if it is malformed, `UnsupportedAlgorithm` without ML-DSA."""
        if algorithm not in _CLASSES:
            raise UnsupportedAlgorithm(algorithm)
        return cls(algorithm, _CLASSES[algorithm].from_public_bytes(data))

    @classmethod
    def wrapping(cls, key: object) -> MLDSAPublicKey | None:
        """Return a key of cryptography with its algorithm, or None if it is of another type."""
        for algorithm, type_ in _CLASSES.items():
            if isinstance(key, type_):
                return cls(algorithm, key)
        return None


class MLDSA:
    """Verifies signatures as PyJWT's algorithms do."""

    def verify(self, msg: bytes, key: MLDSAPublicKey, sig: bytes) -> bool:
        """Return whether `sig` is a valid signature of `msg` by `key`."""
        try:
            key.key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True


def unsupported(algorithms: tuple[str, ...]) -> list[str]:
    """Return the names of ML-DSA in a list that this machine cannot verify."""
    missing = []
    for name in algorithms:
        if name in _SIZES:
            try:
                MLDSAPublicKey.from_bytes(name, bytes(_SIZES[name]))
            except UnsupportedAlgorithm:
                missing.append(name)
    return missing
