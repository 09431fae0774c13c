"""Identity tokens and exchanged tokens: short-lived JWTs (RFC 7519) with authgate as issuer."""

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
"""The claim for everything without a registered claim: the origin of the identity and the policy."""

TokenType = Literal["authgate-identity+jwt", "JWT"]
"""The `typ` of a token: each kind has its own, so that they cannot be confused (RFC 8725, section 3.11)."""
IDENTITY_TOKEN: Final[TokenType] = "authgate-identity+jwt"
"""The identity token in a response header, for the app behind the proxy."""
EXCHANGED_TOKEN: Final[TokenType] = "JWT"
"""The result of a token exchange: a bearer token for another service."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and its lifetime in seconds."""

    text: str = field(repr=False)
    expires_in: int


class TokenIssuer:
    """Signs tokens of `issuer` with the first key. The other keys are only published for verification.

    `leeways` has the expiry leeway in seconds by the configured name of an issuer. It is subtracted, so that a signed
    token never ends after the `exp` of the client's token.
    """

    def __init__(
        self, issuer: str, keys: Sequence[SigningKey], clock: Clock, leeways: Mapping[str, float]
    ) -> None:
        if not keys:
            raise ValueError("a token issuer needs at least one key")
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
        """Return a token that is valid for `ttl` seconds, but not longer than the client's; None if that has expired.

        `expires_at` is the end of the verdict on the client's token, with leeway (POSIX seconds; None for no end).
        There is no `act` claim, because nobody acts on behalf of another identity.
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
    """The header `name` of allow responses, with an identity token for `audience` that is valid for `ttl` seconds."""

    name: str
    audience: str
    ttl: float
    issuer: TokenIssuer

    def value(self, identity: Identity, policy: str, expires_at: float | None) -> str:
        """Return the token, or "" if the client's token is expired and only accepted by leeway."""
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
