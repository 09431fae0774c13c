"""Unfinished request heads: each has a timeout and a maximum size, and all share one memory budget."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.listen_address import ListenAddress
from authgate.observability.metrics import Metrics
from authgate.server.http.connection import ConnectionLimits, GateServer, runner_of
from authgate.server.listeners import Listeners
from tests.support.gate import GateProcess
from tests.support.service import knowing, running, written
from tests.support.wire import ask, bearer, connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

IN_EVERY_LOOP = True
GET = "GET /verify HTTP/1.1"
HOST = "Host: gate"
MIB: Final = 1 << 20
BUDGET: Final = 8 * MIB
WIDE: Final = b"X: \xf0\x9f\x98\x80" + b"a" * 980 + b"\r\n"
"""A field line that takes five bytes of memory per byte."""
UNFINISHED: Final = head(GET, HOST)[:-2] + WIDE * 63
ENDED: Final = "authgate_unfinished_heads_ended_total"


@pytest.fixture
def issuer() -> Issuer:
    """An issuer whose keys are in the gate's configuration."""
    return Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


@pytest.fixture
async def gate(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate with some seconds for a head, in which it answers all requests before it, and more between requests."""
    limits = {"headerTimeout": "3s", "maxHeaderBytes": 65536}
    document = {"jwt": [knowing(issuer)], "limits": limits, "server": {"keepaliveTimeout": "60s"}}
    async with running(document) as it:
        yield it


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(head(GET, HOST), id="no body"),
        pytest.param(head("POST /verify HTTP/1.1", HOST, "Content-Length: 5") + b"a\r\n\r\n", id="a body"),
        pytest.param(
            head("POST /verify HTTP/1.1", HOST, "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n",
            id="a chunked body",
        ),
        pytest.param(head(GET, HOST) * 40, id="more requests than are parsed at once"),
    ],
)
async def test_a_head_behind_a_complete_request_has_a_timeout(gate: Gate, first: bytes) -> None:
    """This includes one in the same packet. A connection without an unfinished head stays open."""
    async with connected(gate.address) as wire, connected(gate.address) as idle:
        await idle.send_raw(first)
        await wire.send_raw(first + b"GET /verify HTTP/1.1\r\nX: ")
        for _ in range(first.count(b"/verify")):
            assert (await wire.reply()).status == 401
            assert (await idle.reply()).status == 401
        assert (await wire.reply()).status == 408
        assert await wire.rest() == b""
        await idle.send(GET, HOST)
        assert (await idle.reply()).status == 401


async def test_a_head_that_arrives_during_a_decision_has_a_maximum_size() -> None:
    """Beyond limits.maxHeaderBytes the connection ends, without bytes that could be read as the first answer."""
    metrics, begun = Metrics(), asyncio.Event()

    async def decide(_: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    limits = ConnectionLimits(
        max_header_bytes=65536,
        max_headers=128,
        header_timeout=10.0,
        keepalive_timeout=75.0,
        max_connections=100,
    )
    listeners = Listeners()
    server = GateServer(decide, limits, metrics, lane=None)
    address = await listeners.open(runner_of(server, 0.1), ListenAddress("127.0.0.1"))
    async with connected(address) as wire:
        await wire.send(GET, HOST)
        await begun.wait()
        with suppress(ConnectionError):
            await wire.send_raw(b"GET /verify HTTP/1.1\r\n" + WIDE * 80)
        with suppress(ConnectionError):
            assert await wire.rest() == b""
    assert metrics.http_errors["431"] == 1
    await listeners.close()


async def test_the_oldest_of_too_many_heads_is_ended(issuer: Issuer) -> None:
    """Its connection gets 408 and is counted, and others are served."""
    limits = {"maxUnfinishedHeaderBytes": BUDGET}
    async with running({"jwt": [knowing(issuer)], "limits": limits}) as gate, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(gate.address)) for _ in range(40)]
        for wire in wires:
            await wire.send_raw(UNFINISHED)
        assert (await wires[0].reply()).status == 408
        assert (await ask(gate.address, GET, HOST, bearer(issuer.mint()))).status == 200
        await wires[-1].send_raw(b"\r\n")
        assert (await wires[-1].reply()).status == 401
        assert 0 < await gate.metric(ENDED) < 40


async def test_a_completed_head_makes_room(issuer: Issuer) -> None:
    """This also holds after many requests in pieces."""
    limits = {"maxUnfinishedHeaderBytes": BUDGET}
    async with running({"jwt": [knowing(issuer)], "limits": limits}) as gate, connected(gate.address) as wire:
        for _ in range(60):
            await wire.send_raw(UNFINISHED)
            await wire.send_raw(b"\r\n")
            assert (await wire.reply()).status == 401
        assert await gate.metric(ENDED) == 0


async def test_a_flood_of_unfinished_heads_stays_within_a_memory_limit(
    tmp_path: Path, issuer: Issuer
) -> None:
    """There are 3,000 connections that could take 325 KB each. Good clients get correct responses meanwhile."""
    limits = {"maxUnfinishedHeaderBytes": BUDGET, "headerTimeout": "300s"}
    file = written(tmp_path, {"jwt": [knowing(issuer)], "limits": limits})
    good = bearer(issuer.mint())
    async with GateProcess(file, limits=(f"-v {900 * 1024}",)) as gate:
        before = _peak(gate.process.pid)
        async with AsyncExitStack() as stack:
            for number in range(3000):
                wire = await stack.enter_async_context(connected(gate.address))
                with suppress(ConnectionError):
                    wire.writer.write(UNFINISHED)
                if number % 100 == 0:
                    assert (await ask(gate.address, GET, HOST, good)).status == 200
                    assert (await gate.admin("/livez")).status == 200
        assert await gate.metric(ENDED) > 2500
        assert (_peak(gate.process.pid) - before) < 64 * MIB
        assert gate.process.running


def _peak(pid: int) -> int:
    """Return the peak memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
