"""Allowed requests reach the app completely."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.keys.mldsa import unsupported
from authgate.tools.snippets import identity_headers
from tests.proxies.app import GREETING
from tests.proxies.site import HEALTH, protected
from tests.support.gate import AUDIENCE
from tests.support.service import knowing
from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

UPLOAD = bytes(range(256)) * 40_960  # 10 MB
REQUESTS, CLIENTS = 2000, 16
FEW = 64
"""The maximum number of connections to the gate."""


@pytest.mark.row("a valid token reaches the app, which gets the identity only from authgate")
async def test_a_request_with_a_valid_token_reaches_the_app(site: Site) -> None:
    """Method, path and query are unchanged. The app gets the identity and not the token."""
    token = site.token(groups=["dev", "ops"])
    reply = await site.ask("DELETE /a/b?x=1&y=%20%2f HTTP/1.1", "X-Own: kept", token=token)
    assert (reply.status, reply.body) == (200, GREETING.encode())
    assert "x-auth-reason" not in dict(reply.lines)
    [seen] = site.app.seen
    assert (seen.method, seen.target) == ("DELETE", "/a/b?x=1&y=%20%2f")
    assert seen.values("X-Auth-Request-User") == ["corp:ada"]
    assert seen.values("X-Auth-Request-Groups") == ["dev,ops,system:authenticated"]
    assert seen.values("X-Own") == ["kept"]
    assert seen.values("Authorization") == []
    assert token.encode() not in bytes(site.way.received)


@pytest.mark.row("a valid token reaches the app, which gets the identity only from authgate")
async def test_identity_headers_without_a_value_are_empty_or_missing(site: Site) -> None:
    """They have no value from the client."""
    seen = await site.passes("GET / HTTP/1.1")
    known = {"X-Auth-Request-User", "X-Auth-Request-Groups", "X-Auth-Request-Uid", "X-Auth-Request-Issuer"}
    for name in set(identity_headers("oauth2-proxy")) - known:
        assert "".join(seen.values(name)) == "", name


@pytest.mark.row("the app's errors reach the client unchanged")
@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_the_apps_errors_reach_the_client(site: Site, status: int) -> None:
    """The proxy does not take the app's status for that of authgate."""
    reply = await site.ask(f"GET /status/{status} HTTP/1.1", token=site.token())
    assert (reply.status, reply.body) == (status, GREETING.encode())
    assert "x-auth-reason" not in dict(reply.lines)
    assert "retry-after" not in dict(reply.lines)


@pytest.mark.row("uploads of 10 MB reach the app and are not sent to authgate")
@pytest.mark.parametrize("how", ["length", "chunked", "expect"])
async def test_an_upload_is_not_sent_to_the_gate(site: Site, how: str) -> None:
    """Ten megabytes reach the app once and completely. authgate gets none of them."""
    framing = "Transfer-Encoding: chunked" if how == "chunked" else f"Content-Length: {len(UPLOAD)}"
    head = [
        "POST /upload HTTP/1.1",
        "Host: app.example.com",
        bearer(site.token()),
        framing,
        "Connection: close",
    ]
    async with connected(site.address) as wire:
        if how == "expect":
            await wire.send(*head, "Expect: 100-continue")
            assert (await wire.reply()).status == 100
        else:
            await wire.send(*head)
        for start in range(0, len(UPLOAD), 1 << 20):
            piece = UPLOAD[start : start + (1 << 20)]
            if how == "chunked":
                piece = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            await wire.send_raw(piece)
        await wire.send_raw(b"0\r\n\r\n" if how == "chunked" else b"")
        while (reply := await wire.reply()).status == 100:
            continue  # Caddy's own, and then the app's
        assert reply.status == 200
    [seen] = site.app.seen
    assert (seen.size, seen.digest) == (len(UPLOAD), hashlib.sha256(UPLOAD).hexdigest())
    assert site.gate.bytes_received < 10_000


@pytest.mark.row("WebSocket upgrades pass, other upgrades do not")
async def test_a_websocket_works(site: Site) -> None:
    """authgate gets the handshake. Then both sides send data."""
    headers = {"Authorization": f"Bearer {site.token()}", "X-Auth-Request-User": "mallory"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{site.address}/socket", headers=headers) as socket,
    ):
        await socket.send_str("ab")
        assert (await socket.receive_str(timeout=60)) == "abab"
    assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]


@pytest.mark.row("WebSocket upgrades pass, other upgrades do not")
async def test_a_websocket_without_a_token_is_denied(site: Site) -> None:
    """A handshake is checked like any other request."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    reply = await site.ask("GET /socket HTTP/1.1", *lines, "Sec-WebSocket-Version: 13")
    assert reply.status == 401
    assert site.app.seen == []


@pytest.mark.row("WebSocket upgrades pass, other upgrades do not")
@pytest.mark.parametrize("upgrades", [["h2c"], ["h2c", "websocket"], ["h2c, websocket"]], ids=str)
async def test_an_upgrade_to_another_protocol_is_not_forwarded(site: Site, upgrades: list[str]) -> None:
    """After an upgrade to HTTP/2 (h2c), a client could send requests that authgate does not check."""
    lines = ["Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    lines += [f"Upgrade: {protocol}" for protocol in upgrades]
    reply = await site.ask("GET / HTTP/1.1", *lines, token=site.token())
    assert reply.status in {200, 400, 403}
    assert [seen.values("Upgrade") for seen in site.app.seen] in ([], [[]], [["websocket"]])


@pytest.mark.row("2,000 requests need few connections to authgate")
async def test_connections_to_the_gate_are_kept(site: Site) -> None:
    """Two thousand requests need only a few connections to authgate."""
    request = f"GET / HTTP/1.1\r\nHost: app\r\n{bearer(site.token())}\r\n\r\n".encode()

    async def one_client() -> None:
        left = REQUESTS // CLIENTS
        while left:
            async with connected(site.address) as wire:
                closing = False
                while left and not closing:
                    await wire.send_raw(request)
                    reply = await wire.reply()
                    assert reply.status == 200
                    closing = "close" in reply.values(
                        "Connection"
                    )  # httpd closes a connection after 100 requests
                    left -= 1

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(one_client())
    assert len(site.app.seen) == REQUESTS
    assert site.gate.connections <= FEW


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_a_long_token_is_accepted(site: Site) -> None:
    """The token has 15 KB."""
    token = site.token(padding="x" * 11_000)
    assert 15_000 < len(token) < 16_000
    await site.passes("GET / HTTP/1.1", token=token)


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_a_token_with_a_post_quantum_signature_is_accepted(program: Program, tmp_path: Path) -> None:
    """A token with ML-DSA-87 and few claims has 6.5 KB, most of it the signature."""
    if unsupported(("ML-DSA-87",)):
        pytest.skip("this version of cryptography has no ML-DSA")
    issuer = Issuer("https://issuer.example", SigningKey.generate("ML-DSA-87"))
    token = issuer.mint("ada", AUDIENCE)
    assert 6_400 < len(token) < 7_000
    more = {"jwt": [knowing(issuer, algorithms=["ML-DSA-87"])]}
    async with protected(program, tmp_path / "proxy", more=more) as site:
        seen = await site.passes("GET / HTTP/1.1", token=token)
    assert seen.values("X-Auth-Request-User") == ["corp:ada"]


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_many_groups_reach_the_app_completely(site: Site) -> None:
    """The identity has three hundred groups."""
    groups = [f"department-{number:03}-of-the-shop" for number in range(300)]
    seen = await site.passes("GET / HTTP/1.1", token=site.token(groups=groups))
    assert seen.values("X-Auth-Request-Groups") == [",".join([*groups, "system:authenticated"])]


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_an_identity_that_is_too_large_is_denied(site: Site) -> None:
    """authgate answers 403 if the identity does not fit into headers."""
    groups = [
        f"{number:03}" + "," * 20 for number in range(300)
    ]  # a comma becomes three characters in the header
    reply = await site.ask("GET / HTTP/1.1", token=site.token(groups=groups))
    assert (reply.status, reply.reason) == (403, "identity_too_large")
    assert site.app.seen == []


@pytest.mark.row("`--open`")
async def test_the_health_path_needs_no_token(site: Site, note: Note) -> None:
    """The path that the proxy leaves open needs no token, and the app gets no identity, whatever the client sends."""
    if site.program.snippet.no_open_path:
        note("not supported; use the policy's `anonymous`")
        return
    reply = await site.ask(f"GET {HEALTH} HTTP/1.1", "X-Auth-Request-User: mallory", "Remote-User: mallory")
    assert reply.status == 200
    [seen] = site.app.seen
    assert seen.target == HEALTH
    assert "mallory" not in str(seen)
    assert "".join(seen.values("X-Auth-Request-User")) == ""
    assert site.gate.bytes_received == 0
