"""The part of `aiohttp.web` that a gate uses.

`aiohttp.web` also imports routing, static files, WebSockets and a command line, which take 1.4 MB.
"""

from __future__ import annotations

import asyncio

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse, json_response
from aiohttp.web_server import Server

__all__ = ["BaseRequest", "Response", "Server", "ServerRunner", "StreamResponse", "json_response"]


class ServerRunner:
    """A server with its listening sockets. When it closes, open requests have `shutdown_timeout` seconds to finish."""

    def __init__(self, server: Server, *, shutdown_timeout: float) -> None:
        self.server = server
        self._shutdown_timeout = shutdown_timeout
        self._listening: list[asyncio.AbstractServer] = []

    def add(self, listening: asyncio.AbstractServer) -> None:
        """Close these sockets in `cleanup`."""
        self._listening.append(listening)

    async def cleanup(self) -> None:
        """Stop listening, close idle connections, let open requests finish, and close the other connections."""
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        # The handling of requests that have arrived begins before idle connections are closed.
        await asyncio.sleep(0)
        self.server.pre_shutdown()
        await self.server.shutdown(self._shutdown_timeout)
