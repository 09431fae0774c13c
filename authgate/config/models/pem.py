"""PEM and JWKS texts of a configuration: looked at when it is loaded, so that a bad one is told at start."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_PUBLIC_KEY = re.compile(
    r"-----BEGIN (?:RSA )?PUBLIC KEY-----.*?-----END (?:RSA )?PUBLIC KEY-----", re.DOTALL
)
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})  # RFC 7518, section 6


def check_certificates(text: str) -> str:
    """Return a PEM text that holds at least one X.509 certificate, unchanged; raises ValueError."""
    read_certificates(text)
    return text


def read_certificates(text: str) -> list[Certificate]:
    """Return the certificates of a PEM text, at least one; raises ValueError with a sentence."""
    from cryptography.x509 import load_pem_x509_certificates

    if "PRIVATE KEY-----" in text:
        raise ValueError("holds a private key; only certificates belong here")
    if "-----BEGIN" not in text:
        raise ValueError("must be PEM text (-----BEGIN CERTIFICATE-----…), not a file's path")
    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError("holds no readable PEM certificate") from None


def check_key_pair(certificates: str, key: str) -> None:
    """Hold that a TLS server can use the two PEM texts together; raises ValueError."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        private = load_pem_private_key(key.encode(), password=None)
    except TypeError:
        raise ValueError("is encrypted; give the key without a passphrase") from None
    except ValueError:
        raise ValueError("holds no readable PEM private key") from None
    leaf = read_certificates(certificates)[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_bytes(*form) != private.public_key().public_bytes(*form):
        raise ValueError("is not the key of the first certificate in certFile")


def check_public_keys(text: str) -> str:
    """Return a JWKS (RFC 7517) or PEM text that holds at least one public key, unchanged; raises ValueError.

    The single keys of a JWKS are judged where they are used: one that does not serve must not stop the others.
    """
    if "PRIVATE KEY-----" in text:
        raise ValueError("holds a private key; give the public one (openssl pkey -pubout)")
    if "-----BEGIN" in text:
        _check_pem(text)
    else:
        _check_jwks(text)
    return text


def _check_pem(text: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    blocks = _PUBLIC_KEY.findall(text)
    if not blocks:
        raise ValueError("holds no PEM public key (-----BEGIN PUBLIC KEY-----…)")
    for block in blocks:
        try:
            load_pem_public_key(block.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("holds a PEM public key that can't be read") from None


def _check_jwks(text: str) -> None:
    try:
        jwks = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('must be a JWKS ({"keys": […]}) or PEM public keys') from None
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError('must be a JWKS with at least one key: {"keys": […]}')
    if any(isinstance(key, dict) and not _PRIVATE_MEMBERS.isdisjoint(key) for key in keys):
        raise ValueError("holds a private or symmetric key; give the public keys only")
