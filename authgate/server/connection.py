"""One client connection: aiohttp's, with bounds on headers, time and number, and with answers that keep the contract.

aiohttp answers some requests by itself (400 for what is no HTTP); here those answers are empty like every other one
of this port, and the log line never quotes the request, which may hold a token.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from authgate.errors import Reason
from authgate.log import event

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from authgate.metrics import Metrics
    from authgate.server.lane import FastLane

_EMPTY = "Content-Length: 0\r\nCache-Control: no-store\r\nServer: authgate\r\nConnection: close\r\n\r\n"
_REQUEST_TIMEOUT = f"HTTP/1.1 408 Request Timeout\r\n{_EMPTY}".encode()
_HEADERS_TOO_LARGE = f"HTTP/1.1 431 Request Header Fields Too Large\r\n{_EMPTY}".encode()
_LINGER = 2.0
_TOO_MANY = "Too many headers received"  # aiohttp has no class of its own for it


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client may use: bytes, field lines, seconds for a request's headers, idle seconds, connections."""

    max_header_bytes: int
    max_headers: int
    header_timeout: float
    keepalive_timeout: float
    max_connections: int


class Connection(RequestHandler):
    """aiohttp's connection with a deadline and a size for the headers of each request."""

    __slots__ = ("_header_bytes", "_header_timer", "_lane", "_limits", "_metrics", "_unread_timer")

    def __init__(
        self,
        manager: GateServer,
        *,
        limits: ConnectionLimits,
        metrics: Metrics,
        lane: FastLane | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            manager,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no access log", its types do not say so
            keepalive_timeout=limits.keepalive_timeout,
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
            max_headers=limits.max_headers,
            lingering_time=_LINGER,
            auto_decompress=False,  # a body is only thrown away
            **kwargs,
        )
        self._limits = limits
        self._metrics = metrics
        self._lane = lane
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Answer in the fast lane, or feed the parser, and time and measure a head that is not complete yet."""
        if self._lane is not None and self._idle():
            answer = self._lane.answer(data)
            if answer is not None:
                self._answered(answer)
                return
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._headers_complete()
        elif (
            self._waiter is not None or self._request_count == 0
        ):  # idle, so this is a piece of a request's head
            self._headers_incomplete(len(data))

    def _idle(self) -> bool:
        """Tell whether nothing is under way: aiohttp waits for a request of which no byte has arrived."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and self._header_timer is None
            and not self._messages
            and not self._upgraded
            and not self._paused
            and not self._close
            and not self._force_close
        )

    def _answered(self, answer: bytes) -> None:
        """Write an answer of the fast lane and keep the connection's books as aiohttp would have."""
        self._request_count += 1
        if self._manager is not None:
            self._manager.requests_count += 1
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self.transport is not None:
            self.transport.write(answer)

    def pause_writing(self) -> None:
        """Give a client that leaves its answers unread as long as one that is slow to ask, then end the connection."""
        super().pause_writing()
        if self.transport is not None:
            abort = self.transport.abort
            self._unread_timer = self._loop.call_later(self._limits.header_timeout, abort)

    def resume_writing(self) -> None:
        """Go on, now that the client reads."""
        self._stop_unread_timer()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Release the timers together with the connection."""
        self._headers_complete()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _headers_complete(self) -> None:
        self._header_bytes = 0
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_incomplete(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._limits.max_header_bytes:
            self._end(431, _HEADERS_TOO_LARGE)
        elif self._header_timer is None:
            self._header_timer = self._loop.call_later(
                self._limits.header_timeout, self._end, 408, _REQUEST_TIMEOUT
            )

    def _end(self, status: int, answer: bytes) -> None:
        self._headers_complete()
        if self.transport is None:
            return
        self._metrics.http_errors[str(status)] += 1
        self.transport.write(answer)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no proper request, with an empty body and without quoting it anywhere."""
        headers = {"Cache-Control": "no-store", "Server": "authgate"}
        if isinstance(exc, LineTooLong) or (isinstance(exc, BadHttpMessage) and exc.message == _TOO_MANY):
            status = 431
        elif status >= 500:  # the handler itself broke, outside of its own last line of defence
            status = 503
            headers |= {"X-Auth-Reason": Reason.INTERNAL_ERROR.value, "Retry-After": "1"}
            self._metrics.internal_errors += 1
            places = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
            event(
                logging.ERROR, "unexpected error; the request was answered 503", exception_stacktrace=places
            )
        self._metrics.http_errors[str(status)] += 1
        response = web.Response(status=status, headers=headers)
        response.force_close()
        return response


class GateServer(web.Server):
    """aiohttp's low-level server, which makes bounded connections and refuses them beyond a number."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: ConnectionLimits,
        metrics: Metrics,
        lane: FastLane | None,
    ) -> None:
        super().__init__(handler)
        self._lane = lane
        self._limits = limits
        self._metrics = metrics

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self, loop=self._loop, limits=self._limits, metrics=self._metrics, lane=self._lane)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection, or close it at once where there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._limits.max_connections:
            self._metrics.connections_refused += 1
            transport.abort()


def verify_runner(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    limits: ConnectionLimits,
    metrics: Metrics,
    shutdown_timeout: float,
    lane: FastLane | None = None,
) -> web.ServerRunner:
    """Return the verify port's server, to be opened on its addresses; needs a running event loop.

    Requests under way have `shutdown_timeout` seconds to end once it closes.
    """
    return web.ServerRunner(GateServer(handler, limits, metrics, lane), shutdown_timeout=shutdown_timeout)
