"""Tokens for tests: well-made ones, and ones put together from any bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.dev.compact import OMIT, JsonObject, changed, compact, json_bytes
from authgate.verify.compact import CompactParser, UnverifiedToken
from tests.support.clock import START

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "OMIT",
    "POD_BOUND",
    "claims",
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
"""What a kube-apiserver writes into the `kubernetes.io` claim of a pod's token."""


def claims(changes: Mapping[str, object] | None = None, /, **more: object) -> JsonObject:
    """The payload of a token that is good for an hour from `START`; changes replace, add and (by `OMIT`) leave out."""
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
    """The payload of a ServiceAccount token bound to a pod, as `claims` otherwise."""
    own: JsonObject = {"sub": "system:serviceaccount:prod:web", "jti": "token-1", "kubernetes.io": POD_BOUND}
    return claims(own, **more)


def unsigned(header: bytes | Mapping[str, object], payload: bytes | Mapping[str, object]) -> str:
    """A compact JWS of these two pieces, with an invalid signature."""
    return compact(_bytes(header), _bytes(payload), b"no signature")


def parsed(text: str) -> UnverifiedToken:
    """The token as the gate's own parser reads it; it has to be a well-formed one."""
    token = CompactParser().parse(text)
    assert isinstance(token, UnverifiedToken), token
    return token


def _bytes(part: bytes | Mapping[str, object]) -> bytes:
    return part if isinstance(part, bytes) else json_bytes(part)
