"""HTTP/1.1 as bytes: a test contains exactly the bytes that a client sends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

PATIENCE = 30.0
"""The maximum wait for a response, in seconds. A test that passes never waits so long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response: its head as bytes, and a body of Content-Length bytes."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.split(b" ", 2)[1])

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The header fields in order: name in lower case, and value decoded as UTF-8."""
        fields = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [(name.decode("ascii").lower(), value.strip(b" ").decode()) for name, _, value in fields]

    def values(self, name: str) -> list[str]:
        """Return the values of all header fields with this name."""
        return [value for key, value in self.lines if key == name.lower()]

    def value(self, name: str) -> str:
        """Return the value of the only header field with this name. It must not be missing or repeated."""
        values = self.values(name)
        assert len(values) == 1, f"{name} is sent {len(values)} times in {self.head!r}"
        return values[0]

    @property
    def reason(self) -> str:
        """The reason code of a denial."""
        return self.value("X-Auth-Reason")


class Wire:
    """One connection to a server, for consecutive requests or any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *lines: str | bytes) -> None:
        """Send the lines and an empty one, each with CRLF."""
        await self.send_raw(head(*lines))

    async def send_raw(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def reply(self, *, to_head: bool = False) -> Reply:
        """Read one response; raise TimeoutError without one. A response `to_head` has no body."""
        async with asyncio.timeout(PATIENCE):
            received = await self.reader.readuntil(b"\r\n\r\n")
            reply = Reply(received, b"")
            lengths = reply.values("Content-Length")
            if to_head or not lengths:
                return reply
            return Reply(received, await self.reader.readexactly(int(lengths[0])))

    async def rest(self) -> bytes:
        """Read until the server closes the connection; raise TimeoutError if it does not."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:  # a reset also closes the connection
                return b""


@asynccontextmanager
async def connected(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Open a connection to `host:port` or `unix:/path`, and close it at the end."""
    if address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"), ssl=tls)
    else:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def head(*lines: str | bytes) -> bytes:
    """Return a request's head: the lines and an empty one, each with CRLF."""
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in (*lines, b""))


def bearer(token: str) -> str:
    """Return the Authorization header with a token."""
    return f"Authorization: Bearer {token}"


async def ask(address: str, *lines: str | bytes, tls: ssl.SSLContext | None = None) -> Reply:
    """Send one request on a new connection; return the response."""
    async with connected(address, tls) as wire:
        await wire.send(*lines)
        return await wire.reply(to_head=bytes(head(*lines)).startswith(b"HEAD "))
