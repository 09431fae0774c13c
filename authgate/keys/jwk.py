"""Reading key documents: JWK Sets (RFC 7517) and PEM public keys. One bad key is skipped, never the whole set."""

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

from authgate.keys.algorithms import ALGORITHMS, algorithms_for
from authgate.keys.roca import has_roca_fingerprint
from authgate.model import KeyInfo, RevocationHandle
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from authgate.model import JSONValue

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MAX_KEYS = 100
_MAX_KID_CHARS = 512
_MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
_MAX_RSA_BITS = 8192  # beyond it one verification takes milliseconds
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,64})-----")
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}


class KeyDocumentError(ValueError):
    """The document as a whole is no set of keys that could be used."""


class _BadKeyError(ValueError):
    """One key cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A public key and what it may verify; `fingerprint` tells keys apart, verdicts live while `lease` holds."""

    info: KeyInfo
    algorithms: frozenset[str]
    material: PublicKey
    fingerprint: bytes
    any_kid: bool = False
    handle: RevocationHandle = field(default_factory=RevocationHandle)

    def verify(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's over `message`; false for an algorithm that does not fit the key."""
        return algorithm in self.algorithms and ALGORITHMS[algorithm].verify(
            message, self.material, signature
        )


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """The usable keys of a document, and why each other one was skipped.

    `data` is a JWK Set as it was read, and `issuer` the name that its issuer gave itself beside it, if any.
    """

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()
    data: bytes = b""
    origin: str = ""
    issuer: str = ""


def read_jwk_set(data: bytes, origin: str) -> KeyDocument:
    """Read a JWK Set (RFC 7517, section 5); raises `KeyDocumentError` where it is none or holds no usable key.

    `origin` names the place it came from, for explanations. Symmetric and private keys, keys for encryption, RSA
    keys outside 2048 to 8192 bits or with ROCA's fingerprint, and malformed ones are skipped. The caller bounds the
    size of `data`.
    """
    try:
        members = parse_object(data)
    except StrictJSONError as error:
        raise KeyDocumentError(f"no JWK Set: {error}") from None
    entries = members.get("keys")
    if not isinstance(entries, list):
        raise KeyDocumentError("no JWK Set: 'keys' is missing or no list")
    if len(entries) > MAX_KEYS:
        raise KeyDocumentError(f"{len(entries)} keys, at most {MAX_KEYS} are accepted")
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
    return KeyDocument(tuple(keys), tuple(skipped), data, origin)


def read_pem_keys(data: bytes, origin: str) -> KeyDocument:
    """Read one or more PEM public keys (SubjectPublicKeyInfo); raises `KeyDocumentError` where any is unusable.

    PEM carries no kid, so these keys fit tokens with any kid and with none.
    """
    for number, label in enumerate(_PEM_LABEL.findall(data)):
        if label != b"PUBLIC KEY":
            raise KeyDocumentError(f"key {number}: it is '{label.decode()}', only 'PUBLIC KEY' is read")
    end = b"-----END PUBLIC KEY-----"
    blocks = [
        block[block.index(b"-----BEGIN") :] + end for block in data.split(end) if b"-----BEGIN" in block
    ]
    keys = []
    for number, block in enumerate(blocks):
        try:
            material = _supported(load_pem_public_key(block))
        except (ValueError, UnsupportedAlgorithm) as error:
            reason = str(error) if isinstance(error, _BadKeyError) else "no PEM public key"
            raise KeyDocumentError(f"key {number}: {reason}") from None
        keys.append(_build(None, material, None, origin))
    if not keys:
        raise KeyDocumentError("no PEM public key")
    return KeyDocument(tuple(keys))


def _read_jwk(entry: JSONValue, origin: str) -> VerificationKey:
    if not isinstance(entry, dict):
        raise _BadKeyError("not an object")
    kid, alg = entry.get("kid", ""), entry.get("alg")
    if not isinstance(kid, str) or len(kid) > _MAX_KID_CHARS:
        raise _BadKeyError("'kid' is no short string")
    if alg is not None and not isinstance(alg, str):
        raise _BadKeyError("'alg' is no string")
    if entry.get("use", "sig") != "sig":
        raise _BadKeyError("'use' is not 'sig'")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _BadKeyError("'key_ops' lacks 'verify'")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _BadKeyError("it is secret or holds its private part")
    kty = entry.get("kty")
    reader = _READERS.get(kty) if isinstance(kty, str) else None
    if reader is None:
        raise _BadKeyError("its 'kty' is not supported")
    if not all(isinstance(entry.get(name, ""), str) for name in ("n", "e", "crv", "x", "y")):
        raise _BadKeyError("a parameter is no string")
    try:
        material = reader(dict(entry))
    except (PyJWTError, ValueError, UnsupportedAlgorithm):
        raise _BadKeyError("its parameters make no key") from None
    return _build(kid, _supported(material), alg, origin)


def _supported(material: object) -> PublicKey:
    match material:
        case RSAPublicKey():
            if not _MIN_RSA_BITS <= material.key_size <= _MAX_RSA_BITS:
                raise _BadKeyError(
                    f"{material.key_size} RSA bits, {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are accepted"
                )
            if has_roca_fingerprint(material.public_numbers().n):
                raise _BadKeyError("a broken generator made it (ROCA, CVE-2017-15361); replace it")
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
        algorithms &= {alg}
        if not algorithms:
            raise _BadKeyError("its 'alg' does not fit its type")
    fingerprint = hashlib.sha256(_der(material) + repr((kid, alg)).encode()).digest()
    return VerificationKey(
        KeyInfo(kid or "", kty, origin), algorithms, material, fingerprint, any_kid=kid is None
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
