"""Read key documents: JWK Sets (RFC 7517), objects of PEM keys by kid, and PEM. One bad key is skipped, not the set.

Of a certificate, only the public key is used. Its dates, names and signature are not checked: the document itself comes
from the issuer or from the configuration.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
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
from authgate.keys.mldsa import MLDSAPublicKey
from authgate.keys.roca import has_roca_fingerprint
from authgate.model import KeyInfo, RevocationHandle
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authgate.model import JSONValue

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey | MLDSAPublicKey

MAX_KEYS = 100
_MAX_KID_CHARS = 512
_MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
_MAX_RSA_BITS = 8192  # with larger keys one verification takes milliseconds
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PARAMETERS = frozenset({"n", "e", "crv", "x", "y", "pub"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,8192}")
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,64})-----")
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}


class KeyDocumentError(ValueError):
    """The document has no usable keys."""


class NoKeySetError(KeyDocumentError):
    """The document is not a key set, but for example a page."""


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
    issuer: str = ""
    """The only issuer whose tokens the key signs, if the document names one, as Entra ID's does; else empty."""
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
    """Read a JWK Set (RFC 7517, section 5), or an object of PEM certificates or public keys by kid, as Google has it.

    Raises `KeyDocumentError` if it is neither, or has no usable key. `origin` names the place it came from, for
    explanations. Symmetric and private keys, RSA keys outside 2048 to 8192 bits or with ROCA's fingerprint, and
    malformed ones are skipped with a reason; keys for encryption without one. The caller bounds the size of `data`.
    """
    try:
        members = parse_object(data)
    except StrictJSONError as error:
        raise NoKeySetError(f"not a JWK Set: {error}") from None
    entries: Sequence[JSONValue | tuple[str, str]]
    if isinstance(listed := members.get("keys"), list):
        entries = listed
    else:
        entries = [
            (kid, pem) for kid, pem in members.items() if isinstance(pem, str) and "-----BEGIN " in pem
        ]
        if not entries:
            raise NoKeySetError("not a JWK Set: 'keys' is missing or not a list")
    if len(entries) > MAX_KEYS:
        raise KeyDocumentError(f"{len(entries)} keys; at most {MAX_KEYS} are accepted")
    keys: list[VerificationKey] = []
    skipped: list[str] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("use") == "enc":
            continue
        try:
            key = _read_pem(*entry, origin) if isinstance(entry, tuple) else _read_jwk(entry, origin)
        except _BadKeyError as error:
            skipped.append(f"key {number}: {error}")
        else:
            keys.append(key)
    if not keys:
        raise KeyDocumentError("; ".join(["no usable key", *skipped[:3]]))
    return KeyDocument(keys=tuple(keys), skipped=tuple(skipped), data=data, origin=origin)


def without_x509_svids(data: bytes) -> bytes:
    """Return a SPIFFE bundle as a JWK Set of its JWT keys, and any other document unchanged.

    Source: SPIFFE, "Trust Domain and Bundle", section 4, and "JWT-SVID", section 5: only `use: jwt-svid` counts.
    """
    try:
        listed = parse_object(data).get("keys")
    except StrictJSONError:
        return data
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    if not any(entry.get("use") in ("jwt-svid", "x509-svid") for entry in entries):
        return data
    keys = [{**entry, "use": "sig"} for entry in entries if entry.get("use") == "jwt-svid"]
    return json.dumps({"keys": keys}).encode()


def read_pem_keys(data: bytes, origin: str) -> KeyDocument:
    """Read PEM public keys (SubjectPublicKeyInfo) and certificates; raises `KeyDocumentError` if any is unusable.

    PEM has no kid, so these keys fit tokens with any kid and without one.
    """
    keys = []
    for number, part in enumerate(data.split(b"-----BEGIN")[1:]):
        try:
            keys.append(_build(None, _pem_key(b"-----BEGIN" + part), None, origin))
        except _BadKeyError as error:
            raise KeyDocumentError(f"key {number}: {error}") from None
    if not keys:
        raise KeyDocumentError("not a PEM public key")
    return KeyDocument(keys=tuple(keys))


def read_pem_key(kid: str, data: bytes, origin: str) -> VerificationKey:
    """Read one PEM public key or certificate that has this kid; raises `KeyDocumentError`."""
    try:
        return _build(kid, _pem_key(data.lstrip()), None, origin)
    except _BadKeyError as error:
        raise KeyDocumentError(str(error)) from None


def _read_pem(kid: str, pem: str, origin: str) -> VerificationKey:
    if len(kid) > _MAX_KID_CHARS:
        raise _BadKeyError("'kid' is no short string")
    return _build(kid, _pem_key(pem.encode("ascii", "replace")), None, origin)


def _pem_key(block: bytes) -> PublicKey:
    """Return the key of one PEM block; what follows the block is ignored."""
    label = _PEM_LABEL.match(block)
    if label is None:
        raise _BadKeyError("not a PEM public key")
    try:
        if label[1] == b"PUBLIC KEY":
            return _supported(load_pem_public_key(block))
        if label[1] == b"CERTIFICATE":
            return _key_of_certificate(block, pem=True)
    except _BadKeyError:
        raise
    except (ValueError, UnsupportedAlgorithm):
        raise _BadKeyError("not a PEM public key") from None
    kind = label[1].decode()
    raise _BadKeyError(f"it is '{kind}'; only 'PUBLIC KEY' and 'CERTIFICATE' are read")


def _key_of_certificate(data: bytes, *, pem: bool) -> PublicKey:
    """Return the key of a certificate; raises ValueError or `UnsupportedAlgorithm`."""
    from cryptography.x509 import InvalidVersion, load_der_x509_certificate, load_pem_x509_certificate

    load = load_pem_x509_certificate if pem else load_der_x509_certificate
    try:
        return _supported(load(data).public_key())
    except InvalidVersion:  # it is not a ValueError
        raise ValueError("the version of the certificate is unknown") from None


def _certified_key(entry: Mapping[str, JSONValue]) -> PublicKey:
    """Return the key of a JWK's first certificate (RFC 7517, sections 4.7 to 4.9)."""
    chain = entry.get("x5c")
    first = chain[0] if isinstance(chain, list) and chain else None
    try:
        der = b64decode(first if isinstance(first, str) else "", validate=True)
        material = _key_of_certificate(der, pem=False)
    except _BadKeyError:
        raise
    except (ValueError, UnsupportedAlgorithm):
        raise _BadKeyError("its 'x5c' holds no certificate") from None
    for name, digest in (
        ("x5t", hashlib.sha1(der, usedforsecurity=False)),
        ("x5t#S256", hashlib.sha256(der)),
    ):
        if name in entry and entry[name] != urlsafe_b64encode(digest.digest()).rstrip(b"=").decode():
            raise _BadKeyError(f"its '{name}' is not the thumbprint of its certificate")
    if "kty" in entry and entry["kty"] != _type_of(material)[0]:
        raise _BadKeyError("its 'kty' is not that of its certificate")
    return material


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
    if "x5c" in entry and _PARAMETERS.isdisjoint(entry):
        return _build(kid, _certified_key(entry), alg, origin, _issuer_of(entry))
    kty = entry.get("kty")
    if kty == "AKP":
        return _build(kid, _akp_key(entry), alg, origin, _issuer_of(entry))
    reader = _READERS.get(kty) if isinstance(kty, str) else None
    if reader is None:
        raise _BadKeyError("its 'kty' is not supported")
    if not all(isinstance(entry.get(name, ""), str) for name in _PARAMETERS):
        raise _BadKeyError("a parameter is not a string")
    try:
        material = reader(dict(entry))
    except (PyJWTError, ValueError, UnsupportedAlgorithm):
        raise _BadKeyError("its parameters are not a valid key") from None
    return _build(kid, _supported(material), alg, origin, _issuer_of(entry))


def _issuer_of(entry: Mapping[str, JSONValue]) -> str:
    """Return the issuer that a JWK names, or "" for none and for the template of all tenants."""
    issuer = entry.get("issuer")
    return issuer if isinstance(issuer, str) and "{" not in issuer else ""


def _akp_key(entry: Mapping[str, JSONValue]) -> MLDSAPublicKey:
    """Return the key of a JWK of type AKP (RFC 9964, section 3), which must name its algorithm."""
    algorithm, encoded = entry.get("alg"), entry.get("pub")
    if not isinstance(algorithm, str) or not isinstance(encoded, str) or not _BASE64URL.fullmatch(encoded):
        raise _BadKeyError("its 'alg' or 'pub' is missing or malformed")
    try:
        return MLDSAPublicKey.from_bytes(algorithm, urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except UnsupportedAlgorithm:
        raise _BadKeyError("its 'alg' is not supported by this version of cryptography and OpenSSL") from None
    except ValueError:
        raise _BadKeyError("its parameters are not a valid key") from None


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
        case MLDSAPublicKey():
            return material
        case _ if (key := MLDSAPublicKey.wrapping(material)) is not None:
            return key
        case _:
            raise _BadKeyError("its type or curve is not supported")


def _build(
    kid: str | None, material: PublicKey, alg: str | None, origin: str, issuer: str = ""
) -> VerificationKey:
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
        fingerprint=hashlib.sha256(_der(material) + repr((kid, alg, issuer)).encode()).digest(),
        any_kid=kid is None,
        issuer=issuer,
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
        case MLDSAPublicKey():
            return "AKP", material.algorithm


def _der(material: PublicKey) -> bytes:
    if isinstance(material, MLDSAPublicKey):
        return material.key.public_bytes_raw()
    return material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
