"""The app behind the proxies: it records its requests and sends short answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from aiohttp import WSMsgType, web

from tests.support.process import free_port

if TYPE_CHECKING:
    from types import TracebackType

GREETING = "hello from the app"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the app saw it."""

    method: str
    target: str
    """Path and query of the request line, unchanged."""
    headers: tuple[tuple[str, str], ...]
    size: int
    """The number of bytes of the body."""
    digest: str
    """SHA-256 of the body."""

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of this name, in any case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class App:
    """Answer 200; `/status/NNN` answers that status, and `/socket` is a WebSocket that repeats each message."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.seen: list[Seen] = []
        # These limits are large, so that tests reach those of the proxy and of the gate.
        server = web.Server(self._answer, max_line_size=131072, max_field_size=131072, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        host, _, port = self.address.partition(":")
        await web.TCPSite(self._runner, host, int(port)).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect") == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest, size = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            digest.update(piece)
            size += len(piece)
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        self.seen.append(Seen(request.method, request.raw_path, headers, size, digest.hexdigest()))
        if request.path == "/socket":
            return await _repeat(request)
        if request.path.startswith("/status/"):
            return web.Response(status=int(request.path.rpartition("/")[2]), text=GREETING)
        return web.Response(text=GREETING)


async def _repeat(request: web.BaseRequest) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(timeout=1)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data * 2)
    return socket
