"""A relay between a proxy and a server: counts and records connections, and fails on request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Self

from tests.support.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

_RECORDED_BYTES = 1 << 20  # bytes


class Fault(Enum):
    """How the server behind the relay fails."""

    DOWN = "nothing listens"
    HANGS = "it accepts the request and sends nothing"
    CLOSES = "it closes before it sends anything"
    CUT = "it closes in the middle of an answer that would allow"
    RUBBISH = "it speaks another protocol"


_ANSWERS = {
    Fault.CLOSES: b"",
    Fault.CUT: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Auth-Request-User: corp:ad",
    Fault.RUBBISH: b"220 mail.example.com ESMTP ready\r\n",
}


class Relay:
    """Forward bytes between its own loopback port and a server's, until a test requests a fault."""

    def __init__(self, target: str, *, socket: Path | None = None) -> None:
        """`target` is the server's `host:port`; with a `socket` the relay listens there."""
        self.port = free_port()
        self.socket = socket
        self.address = f"127.0.0.1:{self.port}"
        self.connections = 0
        """The number of connections since the last `forget`."""
        self.bytes_received = 0
        """The number of bytes from clients since then."""
        self.received = bytearray()
        """The first of these bytes, up to a limit."""
        self._target = target
        self._fault: Fault | bytes | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def forget(self) -> None:
        """Reset the counter; open connections stay open and are not counted again."""
        self.connections = 0
        self.bytes_received = 0
        self.received.clear()

    @asynccontextmanager
    async def failing(self, fault: Fault | bytes) -> AsyncIterator[None]:
        """Fail with this fault or these bytes in this context. Open connections are closed before and after."""
        await self._become(fault)
        try:
            yield
        finally:
            await self._become(None)

    @asynccontextmanager
    async def leading_to(self, target: str) -> AsyncIterator[None]:
        """Forward to another server in this context. Open connections are closed before and after."""
        usual, self._target = self._target, target
        await self._become(None)
        try:
            yield
        finally:
            self._target = usual
            await self._become(None)

    async def _become(self, fault: Fault | bytes | None) -> None:
        await self._stop()
        self._fault = fault
        if fault is not Fault.DOWN:
            await self._listen()

    async def _listen(self) -> None:
        if self.socket is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        else:
            self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if self._fault is None:
                await self._forward(reader, writer)
            else:
                await self._fail(reader, writer, self._fault)
        except OSError:
            pass  # either side has closed the connection
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        self._open.add(forth)
        answers = asyncio.create_task(_copy(back, writer))
        try:
            while data := await reader.read(1 << 16):
                self._note(data)
                forth.write(data)
                await forth.drain()
        finally:
            self._open.discard(forth)
            answers.cancel()
            forth.transport.abort()

    async def _fail(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | bytes
    ) -> None:
        self._note(await reader.read(1 << 16))
        if fault is Fault.HANGS:
            await reader.read()  # until the other side closes the connection
            return
        writer.write(fault if isinstance(fault, bytes) else _ANSWERS[fault])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def _note(self, data: bytes) -> None:
        self.bytes_received += len(data)
        self.received += data[: _RECORDED_BYTES - len(self.received)]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        pass  # the other direction reports the error, too
