"""What passes, passes whole."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import aiohttp
import pytest

from authgate.tools.snippets import identity_headers
from tests.proxies.app import GREETING
from tests.proxies.site import HEALTH
from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from tests.proxies.conftest import Note
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

UPLOAD = bytes(range(256)) * 40_960  # 10 MB
REQUESTS, CLIENTS = 2000, 16
FEW = 64
"""The most connections that the gate may see of them."""


@pytest.mark.row("a valid token reaches the app, which gets the identity only from authgate")
async def test_a_good_token_opens_the_app(site: Site) -> None:
    """Method, path and query reach the app unchanged, with the identity that the gate names and without the token."""
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
async def test_identity_headers_without_a_value_name_nobody(site: Site) -> None:
    """What the gate does not know of a caller is empty at the app, or not there."""
    seen = await site.passes("GET / HTTP/1.1")
    known = {"X-Auth-Request-User", "X-Auth-Request-Groups", "X-Auth-Request-Uid", "X-Auth-Request-Issuer"}
    for name in set(identity_headers("oauth2-proxy")) - known:
        assert "".join(seen.values(name)) == "", name


@pytest.mark.row("the app's errors reach the client unchanged")
@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_the_apps_own_errors_are_its_own(site: Site, status: int) -> None:
    """What the app answers is not taken for the gate's answer."""
    reply = await site.ask(f"GET /status/{status} HTTP/1.1", token=site.token())
    assert (reply.status, reply.body) == (status, GREETING.encode())
    assert "x-auth-reason" not in dict(reply.lines)
    assert "retry-after" not in dict(reply.lines)


@pytest.mark.row("uploads of 10 MB reach the app and are not sent to authgate")
@pytest.mark.parametrize("how", ["length", "chunked", "expect"])
async def test_an_upload_passes_by_the_gate(site: Site, how: str) -> None:
    """Ten megabytes reach the app once and whole, and the gate sees none of them."""
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
async def test_a_websocket_passes(site: Site) -> None:
    """The handshake is shown to the gate, and then both sides speak."""
    headers = {"Authorization": f"Bearer {site.token()}", "X-Auth-Request-User": "mallory"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{site.address}/socket", headers=headers) as socket,
    ):
        await socket.send_str("ab")
        assert (await socket.receive_str(timeout=10)) == "abab"
    assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]


@pytest.mark.row("WebSocket upgrades pass, other upgrades do not")
async def test_a_websocket_without_a_token_does_not(site: Site) -> None:
    """A handshake is a request as any other."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    reply = await site.ask("GET /socket HTTP/1.1", *lines, "Sec-WebSocket-Version: 13")
    assert reply.status == 401
    assert site.app.seen == []


@pytest.mark.row("WebSocket upgrades pass, other upgrades do not")
@pytest.mark.parametrize("upgrades", [["h2c"], ["h2c", "websocket"], ["h2c, websocket"]], ids=str)
async def test_no_other_protocol_passes(site: Site, upgrades: list[str]) -> None:
    """A client that asks for HTTP/2 on the way (h2c) would say behind the gate's back whatever it likes."""
    lines = ["Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    lines += [f"Upgrade: {protocol}" for protocol in upgrades]
    reply = await site.ask("GET / HTTP/1.1", *lines, token=site.token())
    assert reply.status in {200, 400, 403}
    assert [seen.values("Upgrade") for seen in site.app.seen] in ([], [[]], [["websocket"]])


@pytest.mark.row("2,000 requests need few connections to authgate")
async def test_connections_to_the_gate_are_kept(site: Site) -> None:
    """Two thousand requests need no more than a few connections to the gate."""
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
                    closing = "close" in reply.values("Connection")  # httpd has had enough after 100
                    left -= 1

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(one_client())
    assert len(site.app.seen) == REQUESTS
    assert site.gate.connections <= FEW


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_a_long_token_passes(site: Site) -> None:
    """A token of 15 KB opens the app."""
    token = site.token(padding="x" * 11_000)
    assert 15_000 < len(token) < 16_000
    await site.passes("GET / HTTP/1.1", token=token)


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_many_groups_are_never_fewer(site: Site) -> None:
    """Three hundred groups reach the app, all of them."""
    groups = [f"department-{number:03}-of-the-shop" for number in range(300)]
    seen = await site.passes("GET / HTTP/1.1", token=site.token(groups=groups))
    assert seen.values("X-Auth-Request-Groups") == [",".join([*groups, "system:authenticated"])]


@pytest.mark.row("a token of 15 KB and 300 groups arrive complete")
async def test_an_identity_that_is_too_large_is_refused(site: Site) -> None:
    """What the gate's headers cannot hold is its 403."""
    groups = [f"{number:03}" + "," * 20 for number in range(300)]  # a comma takes three letters in the header
    reply = await site.ask("GET / HTTP/1.1", token=site.token(groups=groups))
    assert (reply.status, reply.reason) == (403, "identity_too_large")
    assert site.app.seen == []


@pytest.mark.row("`--open`")
async def test_the_health_path_needs_no_token(site: Site, note: Note) -> None:
    """The path that the proxy leaves open passes without a token and names nobody, whatever the client says."""
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
