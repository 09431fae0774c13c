"""Signed statements of who passed: short-lived JWTs (RFC 7519) in the gate's own name."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authgate.model import Clock, Identity, JSONValue
    from authgate.signing.keys import SigningKey

PRIVATE_CLAIM = "authgate.dev"
"""The claim that holds what no registered claim is there for: where the identity came from and by which policy."""

TokenType = Literal["authgate-identity+jwt", "JWT"]
"""The `typ` of a token: each kind has its own, so that none passes for another (RFC 8725, section 3.11)."""
IDENTITY_TOKEN: Final[TokenType] = "authgate-identity+jwt"
"""The identity token in a header of an answer: for the app behind the proxy."""
EXCHANGED_TOKEN: Final[TokenType] = "JWT"
"""The result of a token exchange: a bearer token, for whoever has to verify it."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, and how many seconds it lives."""

    text: str = field(repr=False)
    expires_in: int


class TokenIssuer:
    """Signs tokens in the name of `issuer` with the first of the keys; the others are there for verifying only.

    `leeways` tells by an issuer's configured name how many seconds its tokens are taken after their `exp`: an issued
    token ends with the `exp` itself.
    """

    def __init__(
        self, issuer: str, keys: Sequence[SigningKey], clock: Clock, leeways: Mapping[str, float]
    ) -> None:
        if not keys:
            raise ValueError("nothing can be signed without a key")
        self.issuer = issuer
        self.keys = tuple(keys)
        self._clock = clock
        self._leeways = leeways
        signing = self.keys[0]
        self._sign = signing.sign
        self._headers = {
            typ: _segment(_json({"alg": signing.algorithm, "kid": signing.kid, "typ": typ}))
            for typ in get_args(TokenType)
        }

    def issue(
        self,
        identity: Identity,
        audience: str,
        *,
        typ: TokenType,
        policy: str,
        ttl: float,
        expires_at: float | None,
    ) -> IssuedToken | None:
        """Return a token that lives for `ttl` seconds but never beyond the one it stands for; None where that is over.

        `expires_at` is when the verdict on that one ends, leeway included (POSIX seconds; None for no end).

        The token names the identity in the headers' words. There is no `act`: nobody acts for somebody else.
        """
        now = int(self._clock.now())
        end = now + int(ttl)
        if expires_at is not None:
            end = min(end, int(expires_at - self._leeways.get(identity.issuer_name, 0.0)))
        if end <= now:
            return None
        claims: dict[str, JSONValue] = {
            "iss": self.issuer,
            "sub": identity.username,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": end,
            "jti": secrets.token_urlsafe(16),
            "groups": list(identity.groups),
            **_known(identity),
            PRIVATE_CLAIM: _origin(identity, policy),
        }
        signed = self._headers[typ] + b"." + _segment(_json(claims))
        return IssuedToken((signed + b"." + _segment(self._sign(signed))).decode("ascii"), end - now)


@dataclass(frozen=True, slots=True)
class IdentityTokenHeader:
    """A header of every allowing answer that holds a token for `audience`, living `ttl` seconds, under `name`."""

    name: str
    audience: str
    ttl: float
    issuer: TokenIssuer

    def value(self, identity: Identity, policy: str, expires_at: float | None) -> str:
        """Return the token; "" where the sender's own has ended and only leeway lets it pass."""
        token = self.issuer.issue(
            identity, self.audience, typ=IDENTITY_TOKEN, policy=policy, ttl=self.ttl, expires_at=expires_at
        )
        return token.text if token else ""


def _known(identity: Identity) -> dict[str, JSONValue]:
    optional = {
        "uid": identity.uid,
        "email": identity.email,
        "preferred_username": identity.preferred_username,
    }
    return {name: value for name, value in optional.items() if value}


def _origin(identity: Identity, policy: str) -> dict[str, JSONValue]:
    origin: dict[str, JSONValue] = {"issuer": identity.issuer, "policy": policy}
    if identity.cluster is not None:
        origin["cluster"] = identity.cluster
    if identity.service_account is not None:
        origin["serviceAccount"] = {
            "namespace": identity.service_account.namespace,
            "name": identity.service_account.name,
        }
    if identity.extra:
        origin["extra"] = {key: list(values) for key, values in identity.extra}
    return origin


def _json(value: dict[str, JSONValue]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
