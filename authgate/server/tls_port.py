"""TCP ports with TLS: a handshake counts as a connection, and has the same timeout as a request's head.

asyncio's own servers create the protocol only after the handshake, so connections would not be counted until then.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

    from authgate.server.http.connection import GateServer

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE: Final = 1.0
_SHORT_PAUSE: Final = 0.01


class TLSPort:
    """One address of a server."""

    def __init__(self, server: GateServer, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}

    async def open(self, host: str, port: int, backlog: int, *, shared: bool) -> int:
        """Listen on every address of a host ("" for all) and return the real port; raise OSError.

        With `shared`, other processes listen on the same port.
        """
        loop = asyncio.get_running_loop()
        flags = socket.AI_PASSIVE
        places = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
        for family, *_, place in dict.fromkeys(places):
            address = (place[0], port, *place[2:])
            try:
                listening = socket.create_server(address, family=family, backlog=backlog, reuse_port=shared)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    raise
                continue  # a kernel without IPv6 resolves names to IPv6 addresses all the same
            listening.setblocking(False)
            port = listening.getsockname()[1]
            self._sockets.append(listening)
            self._accepting.append(loop.create_task(self._accept(listening)))
        if not self._sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return port

    async def close(self) -> None:
        """Stop listening and end open handshakes."""
        tasks = (*self._accepting, *self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                await asyncio.sleep(_PAUSE if error.errno in _EXHAUSTED else _SHORT_PAUSE)
                continue
            if not self._server.begin_handshake():
                accepted.close()
                continue
            task = loop.create_task(self._complete_handshake(accepted))
            self._handshakes[task] = accepted
            task.add_done_callback(self._ended)

    async def _complete_handshake(self, accepted: socket.socket) -> None:
        # If the client disconnected, was too slow or failed the handshake, its connection is closed.
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._server,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._server.handshake_timeout,
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._server.end_handshake()
        accepted = self._handshakes.pop(task)
        if task.cancelled():
            accepted.close()
