"""Tokens for tests: valid ones, and ones from any bytes."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import jwt

from authgate.dev.compact import OMIT, JsonObject, changed, compact, json_bytes
from authgate.verify.compact import CompactParser, UnverifiedToken
from tests.support.clock import START

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.dev.keys import SigningKey

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "OMIT",
    "POD_BOUND",
    "claims",
    "padded_jwt",
    "parsed",
    "service_account_claims",
    "unsigned",
]

ISSUER = "https://issuer.example"
AUDIENCE = "my-audience"

POD_BOUND: JsonObject = {
    "namespace": "prod",
    "serviceaccount": {"name": "web", "uid": "uid-of-web"},
    "pod": {"name": "web-0", "uid": "uid-of-web-0"},
    "node": {"name": "node-1", "uid": "uid-of-node-1"},
}
"""The `kubernetes.io` claim of a pod's token from a kube-apiserver."""


def claims(changes: Mapping[str, object] | None = None, /, **more: object) -> JsonObject:
    """Return the claims of a token that is valid for an hour from `START`. `OMIT` in the changes removes a claim."""
    usual: JsonObject = {
        "iss": ISSUER,
        "sub": "user-1",
        "aud": AUDIENCE,
        "iat": START,
        "nbf": START,
        "exp": START + 3600,
    }
    return changed(changed(usual, changes), more)


def service_account_claims(**more: object) -> JsonObject:
    """Return the claims of a ServiceAccount token that is bound to a pod. Other claims are those of `claims`."""
    own: JsonObject = {"sub": "system:serviceaccount:prod:web", "jti": "token-1", "kubernetes.io": POD_BOUND}
    return claims(own, **more)


def unsigned(header: bytes | Mapping[str, object], payload: bytes | Mapping[str, object]) -> str:
    """Return a compact JWS of these two parts, with an invalid signature."""
    return compact(_bytes(header), _bytes(payload), b"no signature")


def parsed(text: str) -> UnverifiedToken:
    """Return the token as the gate's own parser reads it. It must be well-formed."""
    token = CompactParser().parse(text)
    assert isinstance(token, UnverifiedToken), token
    return token


def _bytes(part: bytes | Mapping[str, object]) -> bytes:
    return part if isinstance(part, bytes) else json_bytes(part)


def padded_jwt(key: SigningKey, claims: Mapping[str, object]) -> str:
    """Return a token in the form of AWS load balancers. Segments have padding, which the signature covers."""
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    signing_input = ".".join(map(_padded, ({"alg": key.algorithm, "kid": key.kid}, claims)))
    signature = algorithm.sign(signing_input.encode(), key.private)
    return f"{signing_input}.{urlsafe_b64encode(signature).decode()}"


def _padded(members: Mapping[str, object]) -> str:
    data = json_bytes(members)
    return urlsafe_b64encode(data + b" " * (1 if len(data) % 3 == 0 else 0)).decode()
