"""The admin port has limits like the others: no client can stop the gate or block probes through it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import knowing, running
from tests.support.wire import connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A gate that is ready at once."""
    async with running({"jwt": [knowing(ISSUER)]}) as it:
        yield it


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(head("GET /livez HTTP/1.1", "Host: gate", f"X-Fill: {'f' * 8192}"), id="one line"),
        pytest.param(head("GET /livez HTTP/1.1", "Host: gate", *["X-Fill: f"] * 65), id="many lines"),
        pytest.param(b"GET /livez HTTP/1.1\r\nX-Fill: " + b"f" * 9000, id="unfinished"),
    ],
)
async def test_a_head_that_is_too_large_is_refused(gate: Gate, request_: bytes) -> None:
    """Over 8 KB or 64 lines it gets 431, and the connection ends."""
    async with connected(gate.admin_address) as wire:
        await wire.send_raw(request_)
        assert (await wire.reply()).status == 431
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    "begun", [b"", b"GET /livez HTTP/1.1\r\nX-Fill: f"], ids=["silent", "with an unfinished head"]
)
async def test_idle_connections_do_not_block_probes(gate: Gate, begun: bytes) -> None:
    """Beyond 64 connections the oldest idle one is closed."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(gate.admin_address)) for _ in range(200)]
        for wire in wires:
            wire.writer.write(begun)
        for _ in range(5):
            async with connected(gate.admin_address) as probe:
                await probe.send("GET /livez HTTP/1.1", "Host: gate")
                assert (await probe.reply()).body == b"ok"
        assert await wires[0].rest() == b""
        ended = sum(wire.reader.at_eof() or wire.reader.exception() is not None for wire in wires)
        assert ended >= 130
    refused = await gate.metric("authgate_connections_refused_total")
    assert refused >= 130


async def test_connections_with_a_missing_body_do_not_block_probes(gate: Gate) -> None:
    """Such a connection is answered and stays open for 2 s. A new connection replaces it, and the limit holds."""
    async with AsyncExitStack() as stack:
        for _ in range(70):
            wire = await stack.enter_async_context(connected(gate.admin_address))
            await wire.send("POST /livez HTTP/1.1", "Host: gate", "Content-Length: 9")
            assert (await wire.reply()).status == 405
        async with connected(gate.admin_address) as probe:
            await probe.send("GET /livez HTTP/1.1", "Host: gate")
            assert (await probe.reply()).body == b"ok"


async def test_a_burst_of_connections_stays_within_the_limit(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that arrive together replace idle ones or are refused, and nothing is logged."""
    async with AsyncExitStack() as stack:
        for _ in range(64):
            await stack.enter_async_context(connected(gate.admin_address))
        burst = await asyncio.gather(
            *(stack.enter_async_context(connected(gate.admin_address)) for _ in range(200))
        )
        answered = 0
        for wire in burst:
            try:
                await wire.send("GET /livez HTTP/1.1", "Host: gate")
                answered += (await wire.reply()).status == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                continue
        assert 0 < answered <= 64
    assert [record for record in caplog.records if record.exc_info] == []


async def test_an_unfinished_head_has_five_seconds() -> None:
    """Then it gets 408, and its connection ends. limits.headerTimeout does not matter."""
    document = {"jwt": [knowing(ISSUER)], "limits": {"headerTimeout": "300s"}}
    async with running(document) as gate, connected(gate.admin_address) as wire:
        await wire.send_raw(b"GET /livez HTTP/1.1\r\n")
        assert (await wire.reply()).status == 408
        assert await wire.rest() == b""
