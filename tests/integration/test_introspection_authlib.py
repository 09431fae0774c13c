"""A gate with an independent authorization server: Authlib issues, introspects and revokes the tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.support.authlib_server import AuthlibServer, RegisteredClient
from tests.support.embedded_server import EmbeddedServer
from tests.support.gate import AUDIENCE
from tests.support.process import until
from tests.support.service import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gate import Gate

SECRET = "a b+c/d:e%f&g=h~ü"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
APP = {"client_id": "app", "client_secret": "app-secret"}


async def issued(gate: Gate, url: str) -> str:
    """Return a token that the app gets with its client credentials."""
    form = {"grant_type": "client_credentials", "scope": "read write", **APP}
    answer = await gate.client.post(f"{url}/token", urlencode(form).encode(), FORM)
    assert answer.status == 200, answer
    token: str = json.loads(answer.body)["access_token"]
    return token


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
@pytest.mark.parametrize("found", ["endpoint", "issuer"])
async def test_tokens_of_authlib_are_introspected(tmp_path: Path, method: str, found: str) -> None:
    """An issued token is allowed. An unknown or revoked token is rejected."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    own = RegisteredClient("gate", method, SECRET, pem)
    async with EmbeddedServer() as server:
        server.add(
            AuthlibServer(
                server.url, AUDIENCE, own, RegisteredClient("app", "client_secret_post", APP["client_secret"])
            )
        )
        entry: dict[str, Any] = {
            "name": "authlib",
            found: server.url + ("/introspect" if found == "endpoint" else ""),
            "clientAuth": {"method": method, "clientID": "gate"},
            "audiences": [AUDIENCE],
            "claimMappings": {"username": {"claim": "sub", "prefix": "client:"}},
            "cache": {"ttl": "1s"},
        }
        file = tmp_path / "credential"
        if method == "private_key_jwt":
            file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            entry["clientAuth"]["keyFile"] = str(file)
        else:
            file.write_text(SECRET + "\n")
            entry["clientAuth"]["secretFile"] = str(file)
        async with running({"introspection": [entry]}) as gate:
            token = await issued(gate, server.url)
            answer = await gate.request(token)
            assert (answer.status, answer.value("X-Auth-Request-User")) == (200, "client:app")
            assert await gate.verdict("unknown") == (401, "introspection_inactive")

            revoked = await gate.client.post(
                f"{server.url}/revoke", urlencode({"token": token, **APP}).encode(), FORM
            )
            assert revoked.status == 200

            async def rejected() -> bool:
                return await gate.verdict(token) == (401, "introspection_inactive")

            await until(rejected, within=30)


async def test_a_wrong_client_secret_is_an_outage(tmp_path: Path) -> None:
    """It is a problem of the gate, not of the token, so clients get 503."""
    file = tmp_path / "credential"
    file.write_text("wrong")
    async with EmbeddedServer() as server:
        own = RegisteredClient("gate", "client_secret_basic", SECRET)
        server.add(AuthlibServer(server.url, AUDIENCE, own))
        entry = {
            "name": "authlib",
            "endpoint": f"{server.url}/introspect",
            "clientAuth": {"clientID": "gate", "secretFile": str(file)},
            "audiences": [AUDIENCE],
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }
        async with running({"introspection": [entry]}) as gate:
            assert await gate.verdict("token") == (503, "introspection_unavailable")
            assert "(401 invalid_client)" in (await gate.admin("/readyz?verbose")).body
