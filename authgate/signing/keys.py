"""Signing keys: the first one signs, all are published, so that keys can be rotated without a gap."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Sequence

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKeyError(ValueError):
    """A private key cannot sign tokens. The message explains what to do and contains nothing of the key."""


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key, its algorithm, and its kid: the SHA-256 thumbprint of the JWK (RFC 7638)."""

    algorithm: Literal["ES256", "EdDSA"]
    kid: str
    private: PrivateKey = field(repr=False)

    @classmethod
    def of(cls, private: PrivateKey) -> SigningKey:
        """Return the signing key for a P-256 or Ed25519 key. Raises `SigningKeyError` for another curve."""
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return cls("EdDSA", _thumbprint(_public_members("EdDSA", private)), private)
        if not isinstance(private.curve, ec.SECP256R1):
            raise SigningKeyError(f"is on the curve {private.curve.name}; ES256 needs P-256")
        return cls("ES256", _thumbprint(_public_members("ES256", private)), private)

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new P-256 key that exists only in this process."""
        return cls.of(ec.generate_private_key(ec.SECP256R1()))

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JWK with kid, alg and use (RFC 7517, section 4)."""
        material = _public_members(self.algorithm, self.private)
        return {**material, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, data: bytes) -> bytes:
        """Return the JWS signature of `data` (RFC 7518, section 3.4; RFC 8037, section 3.1)."""
        signature: bytes = jwt.get_algorithm_by_name(self.algorithm).sign(data, self.private)
        return signature


def read_signing_key(pem: bytes) -> SigningKey:
    """Return the key in a PEM file. Raises `SigningKeyError` unless it is an unencrypted P-256 or Ed25519 key."""
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError:
        raise SigningKeyError("is encrypted; give the key without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SigningKeyError("contains no readable PEM private key") from None
    if isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return SigningKey.of(private)
    raise SigningKeyError(
        "is neither a P-256 nor an Ed25519 key; create one: openssl genpkey -algorithm ed25519 -out signing.pem"
    )


def jwk_set(keys: Sequence[SigningKey]) -> bytes:
    """Return the public keys as a JWKS (RFC 7517, section 5)."""
    return json.dumps({"keys": [key.jwk() for key in keys]}, separators=(",", ":")).encode()


def _public_members(algorithm: str, private: PrivateKey) -> dict[str, str]:
    material = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    return {name: material[name] for name in ("crv", "kty", "x", "y") if name in material}


def _thumbprint(material: dict[str, str]) -> str:
    canonical = json.dumps(material, separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
