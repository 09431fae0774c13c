"""Parsing key documents: JWK Sets (RFC 7517) and PEM public keys. An unusable JWK is skipped, not the whole set."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from authgate.keys.algorithms import ALGORITHMS, algorithms_for, same_algorithms
from authgate.keys.roca import has_roca_fingerprint
from authgate.model import KeyInfo, RevocationHandle
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from authgate.model import JSONValue

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_KEYS = 100
_MAX_KID_CHARS = 512
_MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
_MAX_RSA_BITS = 8192  # with larger keys one verification takes milliseconds
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,64})-----")
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}


class KeyDocumentError(ValueError):
    """The document has no usable keys."""


class _BadKeyError(ValueError):
    """One key cannot be used."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VerificationKey:
    """A public key and its algorithms. `fingerprint` identifies it; `handle` invalidates the verdicts made with it."""

    info: KeyInfo
    algorithms: frozenset[str]
    material: PublicKey
    fingerprint: bytes
    any_kid: bool = False
    handle: RevocationHandle = field(default_factory=RevocationHandle)

    def verify(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Return whether this key made `signature` over `message`; False for an algorithm of other keys."""
        return algorithm in self.algorithms and ALGORITHMS[algorithm].verify(
            message, self.material, signature
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDocument:
    """The usable keys of a document, and why each other key was skipped.

    `data` is the JWK Set as fetched, `issuer` the issuer in the discovery document that was fetched with it, if any.
    """

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()
    data: bytes = b""
    origin: str = ""
    issuer: str = ""


def read_jwk_set(data: bytes, origin: str) -> KeyDocument:
    """Parse a JWK Set (RFC 7517, section 5); raises `KeyDocumentError` if it is malformed or has no usable key.

    `origin` is where it came from, for explanations. Symmetric and private keys, encryption keys, RSA keys outside 2048
    to 8192 bits or with the ROCA fingerprint, and malformed keys are skipped. The caller limits the size of `data`.
    """
    try:
        members = parse_object(data)
    except StrictJSONError as error:
        raise KeyDocumentError(f"not a JWK Set: {error}") from None
    entries = members.get("keys")
    if not isinstance(entries, list):
        raise KeyDocumentError("not a JWK Set: 'keys' is missing or not a list")
    if len(entries) > MAX_KEYS:
        raise KeyDocumentError(f"{len(entries)} keys; at most {MAX_KEYS} are accepted")
    keys: list[VerificationKey] = []
    skipped: list[str] = []
    for number, entry in enumerate(entries):
        try:
            key = _read_jwk(entry, origin)
        except _BadKeyError as error:
            skipped.append(f"key {number}: {error}")
        else:
            keys.append(key)
    if not keys:
        raise KeyDocumentError("; ".join(["no usable key", *skipped[:3]]))
    return KeyDocument(keys=tuple(keys), skipped=tuple(skipped), data=data, origin=origin)


def read_pem_keys(data: bytes, origin: str) -> KeyDocument:
    """Parse one or more PEM public keys (SubjectPublicKeyInfo); raises `KeyDocumentError` if one is unusable.

    PEM has no kid, so these keys verify tokens with any kid and without one.
    """
    for number, label in enumerate(_PEM_LABEL.findall(data)):
        if label != b"PUBLIC KEY":
            raise KeyDocumentError(f"key {number}: it is '{label.decode()}'; only 'PUBLIC KEY' is accepted")
    end = b"-----END PUBLIC KEY-----"
    blocks = [
        block[block.index(b"-----BEGIN") :] + end for block in data.split(end) if b"-----BEGIN" in block
    ]
    keys = []
    for number, block in enumerate(blocks):
        try:
            material = _supported(load_pem_public_key(block))
        except (ValueError, UnsupportedAlgorithm) as error:
            reason = str(error) if isinstance(error, _BadKeyError) else "not a PEM public key"
            raise KeyDocumentError(f"key {number}: {reason}") from None
        keys.append(_build(None, material, None, origin))
    if not keys:
        raise KeyDocumentError("no PEM public key")
    return KeyDocument(keys=tuple(keys))


def _read_jwk(entry: JSONValue, origin: str) -> VerificationKey:
    if not isinstance(entry, dict):
        raise _BadKeyError("not an object")
    kid, alg = entry.get("kid", ""), entry.get("alg")
    if not isinstance(kid, str) or len(kid) > _MAX_KID_CHARS:
        raise _BadKeyError(f"'kid' is not a string of at most {_MAX_KID_CHARS} characters")
    if alg is not None and not isinstance(alg, str):
        raise _BadKeyError("'alg' is not a string")
    if entry.get("use", "sig") != "sig":
        raise _BadKeyError("'use' is not 'sig'")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _BadKeyError("'key_ops' lacks 'verify'")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _BadKeyError("it is symmetric or contains its private part")
    kty = entry.get("kty")
    reader = _READERS.get(kty) if isinstance(kty, str) else None
    if reader is None:
        raise _BadKeyError("its 'kty' is not supported")
    if not all(isinstance(entry.get(name, ""), str) for name in ("n", "e", "crv", "x", "y")):
        raise _BadKeyError("a parameter is not a string")
    try:
        material = reader(dict(entry))
    except (PyJWTError, ValueError, UnsupportedAlgorithm):
        raise _BadKeyError("its parameters are not a valid key") from None
    return _build(kid, _supported(material), alg, origin)


def _supported(material: object) -> PublicKey:
    match material:
        case RSAPublicKey():
            if not _MIN_RSA_BITS <= material.key_size <= _MAX_RSA_BITS:
                raise _BadKeyError(
                    f"{material.key_size} RSA bits; {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are accepted"
                )
            if has_roca_fingerprint(material.public_numbers().n):
                raise _BadKeyError("its private key can be computed (ROCA, CVE-2017-15361); replace it")
            return material
        case EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return material
        case Ed25519PublicKey() | Ed448PublicKey():
            return material
        case _:
            raise _BadKeyError("its type or curve is not supported")


def _build(kid: str | None, material: PublicKey, alg: str | None, origin: str) -> VerificationKey:
    kty, crv = _type_of(material)
    algorithms = algorithms_for(kty, crv)
    if alg is not None:
        if alg not in algorithms:
            raise _BadKeyError("its 'alg' does not match its type")
        algorithms &= same_algorithms(alg)
    return VerificationKey(
        info=KeyInfo(kid or "", kty, origin),
        algorithms=algorithms,
        material=material,
        fingerprint=hashlib.sha256(_der(material) + repr((kid, alg)).encode()).digest(),
        any_kid=kid is None,
    )


def _type_of(material: PublicKey) -> tuple[str, str | None]:
    match material:
        case RSAPublicKey():
            return "RSA", None
        case EllipticCurvePublicKey():
            return "EC", _CURVES[material.curve.name]
        case Ed25519PublicKey():
            return "OKP", "Ed25519"
        case Ed448PublicKey():
            return "OKP", "Ed448"


def _der(material: PublicKey) -> bytes:
    return material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
