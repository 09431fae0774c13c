"""Signing keys of every kind that the gate accepts, and a few that it must reject."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm

from authgate.dev.compact import JsonObject, changed, compact, json_bytes, segment

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)


class Shape(enum.StrEnum):
    """The type of a private key, with its size or curve."""

    RSA_1024 = "RSA-1024"
    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    P256 = "P-256"
    P384 = "P-384"
    P521 = "P-521"
    ED25519 = "Ed25519"
    ED448 = "Ed448"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


_CURVES: Final[Mapping[Shape, ec.EllipticCurve]] = {
    Shape.P256: ec.SECP256R1(),
    Shape.P384: ec.SECP384R1(),
    Shape.P521: ec.SECP521R1(),
}

USUAL_SHAPES: Final[Mapping[str, Shape]] = {
    "RS256": Shape.RSA_2048,
    "RS384": Shape.RSA_2048,
    "RS512": Shape.RSA_2048,
    "PS256": Shape.RSA_2048,
    "PS384": Shape.RSA_2048,
    "PS512": Shape.RSA_2048,
    "ES256": Shape.P256,
    "ES384": Shape.P384,
    "ES512": Shape.P521,
    "EdDSA": Shape.ED25519,
    "Ed25519": Shape.ED25519,
    "ML-DSA-44": Shape.ML_DSA_44,
    "ML-DSA-65": Shape.ML_DSA_65,
    "ML-DSA-87": Shape.ML_DSA_87,
}
"""Every algorithm that a `SigningKey` can sign with, and the default shape of its key."""


def new_private_key(shape: Shape) -> PrivateKey:
    """Generate a private key: tens of milliseconds for RSA, less than one for the others."""
    match shape:
        case Shape.RSA_1024 | Shape.RSA_2048 | Shape.RSA_3072 | Shape.RSA_4096:
            return rsa.generate_private_key(public_exponent=65537, key_size=int(shape.removeprefix("RSA-")))
        case Shape.P256 | Shape.P384 | Shape.P521:
            return ec.generate_private_key(_CURVES[shape])
        case Shape.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case Shape.ED448:
            return ed448.Ed448PrivateKey.generate()
        case Shape.ML_DSA_44 | Shape.ML_DSA_65 | Shape.ML_DSA_87:
            from cryptography.hazmat.primitives.asymmetric import mldsa

            generate: dict[Shape, Any] = {
                Shape.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
                Shape.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
                Shape.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
            }
            # Older versions of cryptography have no such type, so it is not part of `PrivateKey`.
            return cast("PrivateKey", generate[shape]())


class _MLDSA:
    """Signs as PyJWT's algorithms do (RFC 9964)."""

    def sign(self, msg: bytes, key: Any) -> bytes:
        signature: bytes = key.sign(msg)
        return signature

    def to_jwk(self, key: Any, *, as_dict: Literal[True]) -> JsonObject:
        return {"kty": "AKP", "pub": segment(key.public_bytes_raw())}


def _implementation(algorithm: str) -> Algorithm | _MLDSA:
    if algorithm.startswith("ML-DSA-"):
        return _MLDSA()
    return jwt.get_algorithm_by_name("EdDSA" if algorithm == "Ed25519" else algorithm)


def usual_shape(algorithm: str) -> Shape:
    """Return the default shape of key for a JWS algorithm; raises ValueError for an unknown algorithm."""
    try:
        return USUAL_SHAPES[algorithm]
    except KeyError:
        raise ValueError(
            f"no keys for algorithm {algorithm!r}: choose one of {', '.join(USUAL_SHAPES)}"
        ) from None


def key_id(public: PublicKey) -> str:
    """Return the kid that kube-apiserver gives a key: the SHA-256 of its DER (Kubernetes pkg/serviceaccount/jwt.go)."""
    return segment(
        hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    )


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key with its algorithm and kid (None: the key has no kid)."""

    algorithm: str
    kid: str | None
    shape: Shape
    private: PrivateKey = field(repr=False)

    @classmethod
    def of(
        cls,
        private: PrivateKey,
        *,
        algorithm: str = "RS256",
        shape: Shape | None = None,
        kid: str | None = None,
    ) -> SigningKey:
        """Wrap a private key; its kid defaults to the one that kube-apiserver would give it."""
        shape = shape or usual_shape(algorithm)
        return cls(algorithm, kid or key_id(private.public_key()), shape, private)

    @classmethod
    def generate(
        cls, algorithm: str = "RS256", *, shape: Shape | None = None, kid: str | None = None
    ) -> SigningKey:
        """Generate a key; a shape that does not match the algorithm is accepted, for tests of such keys."""
        shape = shape or usual_shape(algorithm)
        return cls.of(new_private_key(shape), algorithm=algorithm, shape=shape, kid=kid)

    def without_kid(self) -> SigningKey:
        """Return the same key without a kid in its JWK and in the tokens it signs."""
        return replace(self, kid=None)

    def successor(self) -> SigningKey:
        """Generate a key of the same algorithm and shape, with its own kid."""
        return SigningKey.generate(self.algorithm, shape=self.shape)

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return self.private.public_key()

    def public_pem(self) -> bytes:
        """Return the public key as SubjectPublicKeyInfo in PEM, the format of `--service-account-key-file`."""
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self, changes: Mapping[str, object] | None = None) -> JsonObject:
        """Return the public key as a JWK with kid, alg and use (RFC 7517 section 4), and apply the changes."""
        material = _implementation(self.algorithm).to_jwk(self.public, as_dict=True)
        material.pop("key_ops", None)  # kube-apiserver does not write them
        named = {} if self.kid is None else {"kid": self.kid}
        return changed({**material, **named, "alg": self.algorithm, "use": "sig"}, changes)

    def sign(self, claims: Mapping[str, object], headers: Mapping[str, object] | None = None) -> str:
        """Sign the claims as a compact JWT; `headers` are changes to the header, which has alg and kid."""
        named = {} if self.kid is None else {"kid": self.kid}
        header = changed({"alg": self.algorithm, **named}, headers)
        return self.sign_raw(json_bytes(header), json_bytes(claims))

    def sign_raw(self, header: bytes, payload: bytes) -> str:
        """Sign exactly these bytes as a compact JWS: a valid signature over content that may be invalid."""
        signing_input = f"{segment(header)}.{segment(payload)}".encode("ascii")
        return compact(header, payload, self.signature(signing_input))

    def signature(self, signing_input: bytes) -> bytes:
        """Return the JWS signature over these bytes."""
        return _implementation(self.algorithm).sign(signing_input, self.private)
