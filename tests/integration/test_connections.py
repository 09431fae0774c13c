"""Clients that are slow, greedy, silent or disconnected: each has limits, and other clients are not affected."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.process import until
from tests.support.service import comes_to, knowing, running
from tests.support.wire import ask, bearer, connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

IN_EVERY_LOOP = True
GET = "GET /verify HTTP/1.1"
HOST = "Host: gate"
LIMITS = {"headerTimeout": "60s", "maxConnections": 5, "maxHeaderBytes": 4096, "maxTokenBytes": 2048}


@pytest.fixture
def issuer() -> Issuer:
    """An issuer whose keys are in the gate's configuration."""
    return Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


@pytest.fixture
async def gate(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate with small limits, such as five connections at once, and long timeouts."""
    async with running({"jwt": [knowing(issuer)], "limits": LIMITS}) as it:
        yield it


@pytest.fixture
async def hasty(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate with a short timeout for headers."""
    async with running({"jwt": [knowing(issuer)], "limits": {**LIMITS, "headerTimeout": "0.3s"}}) as it:
        yield it


@pytest.fixture
async def closing(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate with a short timeout for idle connections."""
    document = {"jwt": [knowing(issuer)], "limits": LIMITS, "server": {"keepaliveTimeout": "0.5s"}}
    async with running(document) as it:
        yield it


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"G", id="one-byte"),
        pytest.param(b"\r\n", id="blank-line"),
        pytest.param(b"GET /verify HTTP/1.1\r\nHost: gate\r\n", id="no-end"),
    ],
)
async def test_unfinished_headers_time_out(hasty: Gate, sent: bytes) -> None:
    """limits.headerTimeout starts with the first byte. The response is an empty 408, and the connection is closed."""
    async with connected(hasty.address) as wire:
        began = time.monotonic()
        await wire.send_raw(sent)
        reply = await wire.reply()
        assert await wire.rest() == b""
    assert (reply.status, reply.value("Content-Length"), reply.value("Cache-Control")) == (
        408,
        "0",
        "no-store",
    )
    assert 0.25 < time.monotonic() - began < 8  # the default is 10 s


async def test_single_bytes_do_not_extend_the_timeout(hasty: Gate, issuer: Issuer) -> None:
    """It starts with the first byte of a request's headers, not with the last."""
    async with connected(hasty.address) as wire:

        async def drip() -> None:
            for byte in head(GET, HOST, bearer(issuer.mint())):
                await wire.send_raw(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        reply = await wire.reply()
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
    assert reply.status == 408


async def test_the_second_request_of_a_connection_has_a_timeout_too(hasty: Gate, issuer: Issuer) -> None:
    """An earlier good request does not make a client trusted."""
    async with connected(hasty.address) as wire:
        await wire.send(GET, HOST, bearer(issuer.mint()))
        assert (await wire.reply()).status == 200
        await wire.send_raw(b"GET /ver")
        assert (await wire.reply()).status == 408


async def test_a_request_in_pieces_is_answered(gate: Gate, issuer: Issuer) -> None:
    """It can be split anywhere, if the last packet arrives in time."""
    request = head(GET, HOST, bearer(issuer.mint()))
    async with connected(gate.address) as wire:
        for start in range(0, len(request), 40):
            await wire.send_raw(request[start : start + 40])
            await asyncio.sleep(0)
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize("piece", [1, 100, 1000])
async def test_headers_over_the_limit_are_refused_however_they_are_split(gate: Gate, piece: int) -> None:
    """The sum of the lines counts."""
    flood = f"{GET}\r\n{HOST}\r\n".encode() + b"X: " + b"a" * 6000
    async with connected(gate.address) as wire:
        for start in range(0, len(flood), piece):
            wire.writer.write(flood[start : start + piece])
        assert (await wire.reply()).status == 431


async def test_an_idle_connection_is_closed(closing: Gate, issuer: Issuer) -> None:
    """The timeout is server.keepaliveTimeout. No bytes are sent that could be read as another response."""
    async with connected(closing.address) as wire:
        began = time.monotonic()
        await wire.send(GET, HOST, bearer(issuer.mint()))
        assert (await wire.reply()).status == 200
        assert await wire.rest() == b""  # fails earlier than the default timeout
    assert time.monotonic() - began > 0.4


async def test_a_connection_without_a_request_is_closed(closing: Gate) -> None:
    """A client that connects and sends nothing is disconnected, too."""
    async with connected(closing.address) as wire:
        assert await wire.rest() == b""


async def test_connections_over_the_limit_are_closed_at_once(gate: Gate, issuer: Issuer) -> None:
    """Connections within the limit are served as before, and the others are counted."""
    async with AsyncExitStack() as open_ones:
        wires = [await open_ones.enter_async_context(connected(gate.address)) for _ in range(5)]
        for wire in wires:
            await wire.send(GET, HOST, bearer(issuer.mint()))
            assert (await wire.reply()).status == 200
        async with connected(gate.address) as one_too_many:
            assert await one_too_many.rest() == b""
        await wires[0].send(GET, HOST)
        assert (await wires[0].reply()).status == 401
    assert await gate.metric("authgate_connections_refused_total") == 1


async def test_a_closed_connection_makes_room(gate: Gate) -> None:
    """The limit counts only open connections."""
    for _ in range(20):
        assert (await ask(gate.address, GET, HOST, "Connection: close")).status == 401


async def test_a_client_that_never_reads_is_disconnected(hasty: Gate) -> None:
    """The timeout is limits.headerTimeout. Until then the gate reads no further bytes from it."""
    flood = head(GET, HOST) * 200
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        host, _, port = hasty.address.partition(":")
        await asyncio.get_running_loop().sock_connect(client, (host, int(port)))

        async def dropped() -> bool:
            try:
                client.send(flood)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        await until(dropped, within=30, otherwise=lambda: "the client is still connected")


async def test_a_client_that_disconnects_is_not_an_error(
    gate: Gate, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether before, during or after a request: no line is logged, and no request stays in flight."""
    request = head(GET, HOST, bearer(issuer.mint()))
    for sent in (b"", request[:50], request, request * 10):
        async with connected(gate.address) as wire:
            await wire.send_raw(sent)
    await comes_to(gate, 0, "authgate_in_flight_requests")
    assert (await gate.request(issuer.mint())).status == 200
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


async def test_slow_clients_do_not_slow_others(gate: Gate, issuer: Issuer) -> None:
    """While some send their headers byte by byte, another client is answered at once."""
    async with AsyncExitStack() as slow_ones:
        for _ in range(4):
            wire = await slow_ones.enter_async_context(connected(gate.address))
            await wire.send_raw(b"GET /verify HTTP/1.1\r\nX: ")
        reply = await ask(gate.address, GET, HOST, bearer(issuer.mint()))
    assert reply.status == 200


async def test_a_body_that_never_comes_ends_the_connection(gate: Gate, issuer: Issuer) -> None:
    """The answer comes at once. The connection waits two seconds for the body."""
    async with connected(gate.address) as wire:
        await wire.send("POST /verify HTTP/1.1", HOST, "Content-Length: 10000000", bearer(issuer.mint()))
        assert (await wire.reply()).status == 200
        assert await wire.rest() == b""
