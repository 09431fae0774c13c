"""When the requests of connections are decided in the fast lane, and when they are answered."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from aiohttp import web

from authgate.gate import Gate
from authgate.observability.audit import Audit
from authgate.observability.metrics import Metrics
from authgate.policy.headers import HeaderMapper
from authgate.policy.rules import Policy
from authgate.server.decider import Serving
from authgate.server.http.connection import Connection, ConnectionLimits, GateServer
from authgate.server.http.fast_lane import FastLane
from authgate.server.record import Recorder
from tests.support.clock import FakeClock
from tests.support.verifiers import ScriptedVerifier

REQUEST = b"GET /verify HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer good-token\r\n\r\n"
LIMITS = ConnectionLimits(
    max_header_bytes=4096, max_headers=16, header_timeout=10, keepalive_timeout=10, max_connections=100
)


class Wire(asyncio.Transport):
    """A transport that records the status of each answer, or "end" when it is closed."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.events: list[str] = []
        self._broken = broken

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Record an answer."""
        if self._broken:
            raise RuntimeError("broken")
        self.events.append(bytes(data[9:12]).decode())

    def close(self) -> None:
        """Record the end."""
        self.events.append("end")

    def abort(self) -> None:
        """Record the end after an error."""
        self.events.append("aborted")

    def is_closing(self) -> bool:
        """Return whether the end was recorded."""
        return "end" in self.events


class Scene:
    """A server with connections to recorded transports. Use it in an event loop."""

    def __init__(self) -> None:
        clock, metrics = FakeClock(), Metrics()
        self.verifier = ScriptedVerifier()
        gate = Gate(self.verifier, {"default": Policy("default")}, HeaderMapper("oauth2-proxy", 16384), 2048)
        serving = Serving(gate, None)
        recorder = Recorder(metrics, Audit("none", clock, lambda: None))
        lane = FastLane(lambda: serving, recorder, clock, max_header_bytes=4096, max_headers=16)
        self.server = GateServer(self._general, LIMITS, metrics, lane=lane)
        self._connections: list[Connection] = []

    @staticmethod
    async def _general(_: web.BaseRequest) -> web.StreamResponse:
        """Answer a request that is not for the fast lane, which never answers 204."""
        return web.Response(status=204)

    def connected(self, wire: Wire) -> Connection:
        """Return a new connection."""
        connection = self.server()
        connection.connection_made(wire)
        self._connections.append(connection)
        return connection

    async def waiting(self, wire: Wire) -> Connection:
        """Return a connection that waits for a request."""
        connection = self.connected(wire)
        await asyncio.sleep(0)  # aiohttp's task of the connection starts
        assert connection.idle
        return connection

    def lose(self) -> None:
        """End all connections."""
        for connection in self._connections:
            connection.connection_lost(None)


async def test_requests_that_arrive_together_are_answered_together() -> None:
    """This happens in the next turn of the event loop, and until then no connection is idle."""
    scene, wires = Scene(), [Wire(), Wire()]
    connections = [await scene.waiting(wire) for wire in wires]
    for connection in connections:
        connection.data_received(REQUEST)

    assert [wire.events for wire in wires] == [[], []]
    assert not any(connection.idle for connection in connections)
    await asyncio.sleep(0)
    assert [wire.events for wire in wires] == [["200"], ["200"]]
    assert all(connection.idle for connection in connections)
    scene.lose()


async def test_only_16_requests_wait_for_each_other() -> None:
    """The first answer must not wait for hundreds of decisions."""
    scene, wires = Scene(), [Wire() for _ in range(17)]
    for connection in [await scene.waiting(wire) for wire in wires]:
        connection.data_received(REQUEST)

    assert [len(wire.events) for wire in wires] == [1] * 16 + [0]
    await asyncio.sleep(0)
    assert wires[16].events == ["200"]
    scene.lose()


async def test_a_request_that_arrives_before_aiohttp_waits_for_it_is_answered_in_the_lane() -> None:
    """Otherwise each answer of aiohttp is followed by another one, as long as the client is fast."""
    scene, wire = Scene(), Wire()
    scene.connected(wire).data_received(REQUEST)
    await asyncio.sleep(0)

    assert wire.events == ["200"]
    scene.lose()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the request is answered before the body can be read")
async def test_a_body_that_follows_its_head_at_once_is_no_request_for_the_fast_lane() -> None:
    """Held until the next turn, it would be missing when the request is answered, which ends the connection."""
    scene, wire = Scene(), Wire()
    connection = await scene.waiting(wire)
    connection.data_received(b"POST /verify HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\n")
    await asyncio.sleep(0)  # decided: the fast lane does not read requests with a body
    await asyncio.sleep(0)  # aiohttp creates the task of the request
    connection.data_received(b"body")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert wire.events == ["204"]
    assert connection.idle
    scene.lose()


async def test_a_request_on_a_connection_that_is_closed_meanwhile_is_not_decided() -> None:
    """The client can send it again."""
    scene, wire = Scene(), Wire()
    connection = await scene.waiting(wire)
    connection.data_received(REQUEST)
    connection.force_close()
    await asyncio.sleep(0)

    assert (wire.events, scene.verifier.asked) == (["end"], [])
    scene.lose()


async def test_a_connection_that_completes_its_handshake_while_the_server_drains_is_not_in_the_lane() -> None:
    """The server does not read the lane's clocks any more, and the connection must end with its first answer."""
    scene, wire = Scene(), Wire()
    connection = scene.server()  # created when the handshake begins
    scene.server.drain()
    connection.connection_made(wire)
    task = connection._task_handler
    assert task is not None
    await asyncio.sleep(0)
    connection.data_received(REQUEST)
    await asyncio.wait_for(task, 10)

    assert wire.events == ["204", "end"]
    connection.connection_lost(None)


async def test_a_request_that_arrives_when_the_keep_alive_time_is_over_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop calls the timer between arrival and decision."""
    scene, wire, loop = Scene(), Wire(), asyncio.get_running_loop()
    connection = await scene.waiting(wire)
    later = loop.time() + LIMITS.keepalive_timeout
    monkeypatch.setattr(loop, "time", lambda: later)
    await asyncio.sleep(0)  # the timer is the next that the event loop calls
    connection.data_received(REQUEST)
    await asyncio.sleep(0)

    assert wire.events == ["200"]
    monkeypatch.undo()
    scene.lose()


async def test_a_request_on_a_lost_connection_is_not_decided() -> None:
    """Nobody would get the answer."""
    scene, wire = Scene(), Wire()
    connection = await scene.waiting(wire)
    connection.data_received(REQUEST)
    scene.lose()
    await asyncio.sleep(0)

    assert ("200" in wire.events, scene.verifier.asked) == (False, [])


async def test_a_request_is_answered_before_the_next_bytes_are_read() -> None:
    """The next head is too large, which is answered at once."""
    scene, wire = Scene(), Wire()
    connection = await scene.waiting(wire)
    connection.data_received(REQUEST)
    connection.data_received(b"GET /verify HTTP/1.1\r\n" + (b"X: " + b"x" * 500 + b"\r\n") * 9)
    assert wire.events == ["200"]
    await asyncio.sleep(0)

    assert wire.events == ["200", "431", "end"]
    scene.lose()


async def test_an_error_ends_one_connection_and_no_other() -> None:
    """The event loop logs it."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    scene, wires = Scene(), [Wire(broken=True), Wire()]
    for connection in [await scene.waiting(wire) for wire in wires]:
        connection.data_received(REQUEST)
    await asyncio.sleep(0)

    assert [wire.events for wire in wires] == [["aborted"], ["200"]]
    assert [str(context["exception"]) for context in reported] == ["broken"]
    scene.lose()
