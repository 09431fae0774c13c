"""The signing key of a control plane for ServiceAccount tokens, and the keys that it accepts."""

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
"""The algorithm of a control plane's signing key."""

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class AccountKeys:
    """A signing key and the published public keys, in two files for the API server."""

    def __init__(self, folder: Path, algorithm: Algorithm = "RS256") -> None:
        self.signing_file = folder / "accounts.key"
        self.accepted_file = folder / "accounts.pub"
        self._algorithm: Algorithm = algorithm
        self._key = _new_key(algorithm)
        self._accepted = [self._key]
        self._write()

    @property
    def key_id(self) -> str:
        """The `kid` of the signing key (kubernetes pkg/serviceaccount/jwt.go, keyIDFromPublicKey)."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.urlsafe_b64encode(hashlib.sha256(public).digest()).rstrip(b"=").decode()

    def sign(self, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
        """Return a token with these claims, signed with the current key."""
        return jwt.encode(
            dict(claims),
            self._key,
            algorithm=self._algorithm,
            headers={"kid": self.key_id, **(headers or {})},
        )

    def altered(self, token: str, **claims: Any) -> str:
        """Return this token with these claims changed, signed with the current key."""
        return self.sign({**claims_of(token), **claims})

    def expired(self, token: str) -> str:
        """Return this token with times of the past. It expired an hour ago."""
        past = int(time.time()) - 7200
        return self.altered(token, iat=past, nbf=past, exp=past + 3600)

    def rotate(self, *, keep_old: bool) -> None:
        """Generate a new signing key. Old keys are accepted only with `keep_old`."""
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
    """Return the claims of a token without verification."""
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
