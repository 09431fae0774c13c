"""A body that is announced and not sent: the next request on the connection is not read as the body."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.nginx import Nginx
from tests.support.process import free_port
from tests.support.service import knowing, running
from tests.support.wire import Reply, bearer, connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
LOW, HIGH = ISSUER.mint("low"), ISSUER.mint("high")
CONFIG: dict[str, Any] = {
    "jwt": [knowing(ISSUER)],
    "server": {"proxy": "nginx"},
    "policies": {
        "default": {"allow": [{"users": ["corp:high"]}]},
        "low": {"allow": [{"users": ["corp:high", "corp:low"]}]},
    },
}


@pytest.fixture(params=[True, False], ids=["fast lane", "general way"])
async def gate(request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    """A gate with two policies. The low one allows more users."""
    server = {**CONFIG["server"], "fastLane": request.param}
    async with running({**CONFIG, "server": server}) as it:
        yield it


ANNOUNCED = {
    "length": ("Content-Length: 56",),
    "one byte": ("Content-Length: 1",),
    "chunked": ("Transfer-Encoding: chunked",),
    "expecting to be asked": ("Content-Length: 56", "Expect: 100-continue"),
    "huge": ("Content-Length: 10000000000",),
}


@pytest.mark.parametrize("port", ["verify", "admin"])
@pytest.mark.parametrize("fields", ANNOUNCED.values(), ids=ANNOUNCED)
@pytest.mark.parametrize("token", [HIGH, LOW, None], ids=["allowed", "denied", "no token"])
async def test_an_answer_before_the_body_ends_the_connection(
    gate: Gate, port: str, fields: tuple[str, ...], token: str | None
) -> None:
    """The answer comes at once with `Connection: close`. Later bytes on the connection get no answer."""
    target, address = ("/verify", gate.address) if port == "verify" else ("/livez", gate.admin_address)
    credential = () if token is None else (bearer(token),)
    async with connected(address) as wire:
        await wire.send(f"POST {target} HTTP/1.1", "Host: gate", *fields, *credential)
        first = await wire.reply()
        if port == "verify":
            assert first.status == {HIGH: 200, LOW: 403, None: 401}[token]
        assert first.values("Connection") == ["close"]
        for _ in range(3):
            await wire.send(f"GET {target} HTTP/1.1", "Host: gate", bearer(HIGH))
        assert await wire.rest() == b""


async def test_a_request_cannot_choose_the_policy_of_the_next_one(gate: Gate) -> None:
    """A header of a client's second request is never read as a request line."""
    hidden = f"GET /policies/low/verify HTTP/1.0\r\nHost: gate\r\n{bearer(LOW)}\r\n"
    second = head("GET /verify HTTP/1.1", "Host: gate", bearer(LOW))
    cut = len("GET /verify HTTP/1.1\r\nHost: gate\r\nX-Filler: ")
    async with connected(gate.address) as wire:
        await wire.send("POST /verify HTTP/1.1", "Host: gate", f"Content-Length: {cut}", bearer(LOW))
        assert (await wire.reply()).status == 403
        await wire.send_raw(
            b"GET /verify HTTP/1.1\r\nHost: gate\r\nX-Filler: " + hidden.encode() + b"\r\n" + second
        )
        assert await wire.rest() == b""


@pytest.mark.parametrize("size", [1, 5, 65_536])
async def test_a_body_that_arrived_does_not_end_the_connection(gate: Gate, size: int) -> None:
    """It is discarded, and the next request is read behind it."""
    async with connected(gate.address) as wire:
        for _ in range(3):
            request = head("POST /verify HTTP/1.1", "Host: gate", f"Content-Length: {size}", bearer(HIGH))
            if size < 10_000:  # one segment with its head
                await wire.send_raw(
                    request + b"x" * size + head("GET /verify HTTP/1.1", "Host: gate", bearer(LOW))
                )
                assert [(await wire.reply()).status for _ in range(2)] == [200, 403]
            else:
                await wire.send_raw(request)
                assert (await wire.reply()).values("Connection") == ["close"]
                await wire.send_raw(b"x" * size)
                assert await wire.rest() == b""
                return


async def test_a_client_that_sends_its_body_late_still_reads_its_answer(gate: Gate) -> None:
    """The body does not reset the connection before the answer was read."""
    async with connected(gate.address) as wire:
        await wire.send("POST /verify HTTP/1.1", "Host: gate", "Content-Length: 300000", bearer(HIGH))
        await wire.send_raw(b"x" * 200_000)
        assert (await wire.reply()).status == 200
        assert await wire.rest() == b""


async def test_the_log_names_what_to_change(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """There is at most one warning per minute, and it has nginx's directive."""
    for _ in range(3):
        async with connected(gate.address) as wire:
            await wire.send("POST /verify HTTP/1.1", "Host: gate", "Content-Length: 5", bearer(HIGH))
            await wire.reply()
    warnings = [record for record in caplog.records if "announced a body" in record.getMessage()]
    assert len(warnings) == 1
    assert 'proxy_set_header Content-Length ""' in str(vars(warnings[0]))


async def test_draining_connections_end_with_their_next_answer(gate: Gate) -> None:
    """A client with an open connection reconnects elsewhere, and loses no request when the listener closes."""
    async with connected(gate.address) as kept, connected(gate.address) as fresh:
        await kept.send("GET /verify HTTP/1.1", "Host: gate", bearer(HIGH))
        assert (await kept.reply()).values("Connection") == []
        gate._service.drain()
        for wire in (kept, fresh):
            await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(HIGH))
            reply = await wire.reply()
            assert (reply.status, reply.values("Connection")) == (200, ["close"])
            assert await wire.rest() == b""


HAND_WRITTEN = """
upstream gate {{ server {gate}; keepalive 8; }}
upstream app {{ server 127.0.0.1:{app}; keepalive 8; }}
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 1m;
    location / {{
        auth_request /_auth;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://app;
    }}
    location = /_auth {{
        internal;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass_request_body off;
        proxy_pass http://gate/verify;
    }}
}}
"""
"""A common configuration, without `proxy_set_header Content-Length ""`."""


@asynccontextmanager
async def hand_written(folder: Path, gate: Gate) -> AsyncIterator[tuple[str, list[str]]]:
    """Run nginx with this configuration; return its address and the request targets that its app received."""
    seen: list[str] = []

    async def app(request: web.BaseRequest) -> web.Response:
        await request.read()
        seen.append(f"{request.method} {request.raw_path} {request.headers.get('X-Who', '')}")
        return web.Response(text=json.dumps({"who": request.headers.get("X-Who", "")}))

    runner = web.ServerRunner(web.Server(app))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        app_port, port = runner.addresses[0][1], free_port()
        text = HAND_WRITTEN.format(gate=gate.address, app=app_port, port=port)
        async with Nginx(folder, text, port=port):
            yield f"127.0.0.1:{port}", seen
    finally:
        await runner.cleanup()


async def sent(address: str, method: str, target: str, token: str | None, body: bytes, *extra: str) -> Reply:
    """Return nginx's answer to one request on a new connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: app", *extra]
    if token is not None:
        lines.append(bearer(token))
    if body:
        lines.append(f"Content-Length: {len(body)}")
    async with connected(address) as wire:
        await wire.send_raw(head(*lines) + body)
        return await wire.reply()


async def test_clients_of_a_hand_written_nginx_do_not_disturb_each_other(gate: Gate, tmp_path: Path) -> None:
    """Interleaved requests with and without bodies get their own answers, and none waits for a body."""
    async with hand_written(tmp_path, gate) as (address, seen):
        kinds = [
            ("POST", HIGH, b"x" * 5, 200, "posted"),
            ("GET", LOW, b"", 403, "low"),
            ("POST", None, b"x" * 200_000, 401, "stranger"),
            ("GET", HIGH, b"", 200, "got"),
            ("POST", LOW, b"x" * 56, 403, "low"),
            ("GET", None, b"", 401, "stranger"),
        ]
        rounds = []
        for _ in range(10):
            started = time.monotonic()
            replies = await asyncio.gather(
                *(
                    sent(address, method, f"/{who}", token, body, f"X-Who: {who}")
                    for method, token, body, _, who in kinds
                )
            )
            assert [reply.status for reply in replies] == [status for *_, status, _ in kinds]
            rounds.append(time.monotonic() - started)
        assert min(rounds) < 2  # a body that is waited for takes 2 s in every round
    assert {line.split()[1] for line in seen} == {"/posted", "/got"}
    assert len(seen) == 20


async def test_a_client_of_a_hand_written_nginx_cannot_choose_another_policy(
    gate: Gate, tmp_path: Path
) -> None:
    """A request line in a header of a second request must not select the low policy."""
    trick = "X-Filler: GET /policies/low/verify HTTP/1.0"
    async with hand_written(tmp_path, gate) as (address, seen):
        for length in range(1, 200):
            assert (await sent(address, "POST", "/", LOW, b"x" * length)).status == 403
            assert (await sent(address, "GET", "/admin", LOW, b"", trick)).status == 403
    assert seen == []
