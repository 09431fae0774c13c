"""An authorization server of Authlib: it issues, introspects (RFC 7662) and revokes (RFC 7009) opaque tokens."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, TokenMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.dev.compact import JsonObject

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]


@dataclass
class RegisteredClient(ClientMixin):
    """A client of the server, with one way to authenticate."""

    client_id: str
    method: str
    secret: str = ""
    public_key: str = ""

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(self.secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


@dataclass
class IssuedToken(TokenMixin):
    """A token that the server has issued."""

    client: RegisteredClient
    scope: str
    issued_at: int
    lifetime: int
    revoked: bool = False

    def check_client(self, client: RegisteredClient) -> bool:
        return client is self.client

    def is_expired(self) -> bool:
        return time.time() >= self.issued_at + self.lifetime

    def is_revoked(self) -> bool:
        return self.revoked


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class _Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string: str, token_type_hint: str) -> IssuedToken | None:
        found: IssuedToken | None = self.server.tokens.get(token_string)
        return found

    def check_permission(self, token: IssuedToken, client: RegisteredClient, request: OAuth2Request) -> bool:
        return client.client_id == "gate"

    def introspect_token(self, token: IssuedToken) -> JsonObject:
        return {
            "active": True,
            "client_id": token.client.client_id,
            "token_type": "Bearer",
            "scope": token.scope,
            "sub": token.client.client_id,
            "aud": self.server.audience,
            "iss": self.server.url,
            "exp": token.issued_at + token.lifetime,
            "iat": token.issued_at,
        }


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string: str, token_type_hint: str) -> IssuedToken | None:
        found: IssuedToken | None = self.server.tokens.get(token_string)
        return found

    def revoke_token(self, token: IssuedToken, request: OAuth2Request) -> None:
        token.revoked = True


class _Assertion(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._used: set[str] = set()

    def get_audiences(self) -> list[str]:
        return [self._url, f"{self._url}/introspect"]

    def validate_jti(self, claims: Mapping[str, Any], jti: str) -> bool:
        fresh = jti not in self._used
        self._used.add(jti)
        return fresh

    def resolve_client_public_key(self, client: RegisteredClient) -> RSAKey:
        return RSAKey.import_key(client.public_key)


class AuthlibServer(AuthorizationServer):
    """The server as a site of the embedded HTTP server. Tokens are for `audience`."""

    def __init__(self, url: str, audience: str, *clients: RegisteredClient) -> None:
        super().__init__()
        self.url = url
        self.audience = audience
        self.clients = {client.client_id: client for client in clients}
        self.tokens: dict[str, IssuedToken] = {}
        self.register_token_generator(
            "default",
            BearerTokenGenerator(lambda **_: secrets.token_urlsafe(30), expires_generator=lambda *_: 600),
        )
        self.register_client_auth_method("private_key_jwt", _Assertion(url))
        self.register_grant(_ClientCredentials)
        self.register_endpoint(_Introspection)
        self.register_endpoint(_Revocation)

    def query_client(self, client_id: str) -> RegisteredClient | None:
        return self.clients.get(client_id)

    def save_token(self, token: Mapping[str, Any], request: OAuth2Request) -> None:
        self.tokens[token["access_token"]] = IssuedToken(
            request.client, token.get("scope", ""), int(time.time()), token["expires_in"]
        )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        pass

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> web.Response:
        return web.json_response(body, status=status)

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the answer of an endpoint, or None for any other path."""
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.url, "introspection_endpoint": f"{self.url}/introspect"})
        form = dict(parse_qsl((await request.read()).decode()))
        asked = _Request(request.method, f"https://example.com{request.path}", headers=dict(request.headers))
        asked.payload = BasicOAuth2Payload(form)
        answers = {
            "/token": lambda: self.create_token_response(asked),
            "/introspect": lambda: self.create_endpoint_response("introspection", asked),
            "/revoke": lambda: self.create_endpoint_response("revocation", asked),
        }
        answer = answers.get(request.path)
        if answer is None:
            return None
        made: web.StreamResponse = answer()
        return made


class _Request(OAuth2Request):
    @property
    def form(self) -> Mapping[str, str]:
        data: Mapping[str, str] = self.payload.data
        return data

    @property
    def args(self) -> Mapping[str, str]:
        return {}
