"""An authorization server that introspects opaque tokens (RFC 7662), as far as tests need one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
from aiohttp import web

from authgate.dev.compact import JsonObject, json_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

INTROSPECT = "/introspect"
CLIENT, SECRET = "auth gate:1", "s€cret/+ %&=~*"
"""A client ID and a secret with characters that client_secret_basic must encode."""


class AuthorizationServer:
    """Answer introspection requests of one client, and publish the endpoint through discovery.

    `tokens` has the members of the response by token. Other tokens are not active. If `secret` is None, only the
    connection authenticates the client. `forms` has the received forms.
    """

    def __init__(self, url: str, *, secret: str | None = SECRET, key: RSAPublicKey | None = None) -> None:
        self.url = url
        self.secret = secret
        self.key = key
        self.tokens: dict[str, JsonObject] = {}
        self.forms: list[dict[str, str]] = []
        self.discovery: dict[str, Any] = {"issuer": url, "introspection_endpoint": url + INTROSPECT}
        self.seen_ids: set[str] = set()

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the answer for a path, or None for any other path."""
        if request.path == "/.well-known/openid-configuration":
            return _json(self.discovery)
        if request.path != INTROSPECT:
            return None
        if request.method != "POST" or request.content_type != "application/x-www-form-urlencoded":
            return web.Response(status=405)
        form = dict(parse_qsl((await request.read()).decode(), strict_parsing=True))
        if not self._authenticates(request, form):
            return _json({"error": "invalid_client"}, 401)
        self.forms.append(form)
        members = self.tokens.get(form["token"])
        return _json({"active": False} if members is None else {"active": True, **members})

    def _authenticates(self, request: web.BaseRequest, form: dict[str, str]) -> bool:
        authorization = request.headers.get("Authorization")
        if self.key is not None:
            return authorization is None and self._proves(form, self.key)
        if self.secret is None:
            return authorization is None and form.get("client_id") == CLIENT
        if authorization is None:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, self.secret)
        scheme, _, encoded = authorization.partition(" ")
        client, _, secret = base64.b64decode(encoded).decode("ascii").partition(":")
        return (scheme, unquote_plus(client), unquote_plus(secret)) == ("Basic", CLIENT, self.secret)

    def _proves(self, form: dict[str, str], key: RSAPublicKey) -> bool:
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return False
        required = {"require": ["iss", "sub", "aud", "exp", "jti"]}
        try:
            claims = jwt.decode(
                form["client_assertion"],
                key,
                ["RS256"],
                audience=[self.url, self.url + INTROSPECT],
                options=required,  # type: ignore[arg-type]
            )
        except jwt.PyJWTError:
            return False
        fresh = claims["jti"] not in self.seen_ids and claims["exp"] - claims["iat"] <= 60
        self.seen_ids.add(claims["jti"])
        return fresh and claims["iss"] == claims["sub"] == CLIENT


def _json(document: JsonObject, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json_bytes(document), headers={"Content-Type": "application/json"}
    )
