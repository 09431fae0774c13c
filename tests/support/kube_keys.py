"""The key with which a control plane signs ServiceAccount tokens, and the keys that it still accepts."""

import base64
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Algorithm = Literal["RS256", "ES256"]
"""The signing key of a control plane."""

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class AccountKeys:
    """One key that signs and the public keys that are published, in two files for the API server's start."""

    def __init__(self, folder: Path, algorithm: Algorithm = "RS256") -> None:
        self.signing_file = folder / "accounts.key"
        self.accepted_file = folder / "accounts.pub"
        self._algorithm: Algorithm = algorithm
        self._key = _new_key(algorithm)
        self._accepted = [self._key]
        self._write()

    @property
    def key_id(self) -> str:
        """The `kid` of the key that signs (kubernetes pkg/serviceaccount/jwt.go, keyIDFromPublicKey)."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.urlsafe_b64encode(hashlib.sha256(public).digest()).rstrip(b"=").decode()

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
        """A token with any claims, signed with the key that signs now."""
        return jwt.encode(
            dict(claims),
            self._key,
            algorithm=self._algorithm,
            headers={"kid": self.key_id, **(headers or {})},
        )

    def altered(self, token: str, **claims: Any) -> str:
        """A token that differs from this one in these claims only, signed as `sign` does."""
        return self.sign({**claims_of(token), **claims})

    def expired(self, token: str) -> str:
        """This token as it would be if its hour had ended an hour ago."""
        past = int(time.time()) - 7200
        return self.altered(token, iat=past, nbf=past, exp=past + 3600)

    def rotate(self, *, keep_old: bool) -> None:
        """Puts a new key in place; tokens of the old ones are accepted further only where they are kept."""
        self._key = _new_key(self._algorithm)
        self._accepted = [self._key, *(self._accepted if keep_old else ())]
        self._write()

    def _write(self) -> None:
        private = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        self.signing_file.write_bytes(private)
        self.accepted_file.write_bytes(b"".join(map(_public_pem, self._accepted)))


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _new_key(algorithm: Algorithm) -> _Key:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public_pem(key: _Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
