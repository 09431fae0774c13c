"""Client connections: aiohttp's, with limits on header bytes, time and number.

aiohttp answers some requests by itself (400 for bytes that are not HTTP). Here those answers are empty, and the log
line never quotes the request, which may hold a token. A request whose target is not a path, or whose body has not
arrived when it is answered, ends its connection: what follows could be read in two ways.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from authgate.errors import Reason
from authgate.observability.log import event
from authgate.server.http import web
from authgate.server.http.head_budget import HEAD_END, HeadBudget, after_last_head, worst_case
from authgate.server.request_ids import named
from authgate.vocabulary import REASON_HEADER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import StreamReader

    from authgate.model import Moment
    from authgate.observability.metrics import Metrics
    from authgate.server.http.fast_lane import FastLane
    from authgate.server.request_ids import RequestIds

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_EMPTY = "Content-Length: 0\r\nCache-Control: no-store\r\nServer: authgate\r\nConnection: close\r\n\r\n"
_REQUEST_TIMEOUT = f"HTTP/1.1 408 Request Timeout\r\n{_EMPTY}".encode()
_HEADERS_TOO_LARGE = f"HTTP/1.1 431 Request Header Fields Too Large\r\n{_EMPTY}".encode()
_LINGER = 2.0
_DECIDED_TOGETHER: Final = 16
"""Requests that are decided together at most: the first answer waits less than a millisecond for RSA signatures."""
_TOO_MANY = "Too many headers received"  # aiohttp has no exception class for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of one listener: bytes, lines and seconds for a request's headers, idle seconds, and connections."""

    max_header_bytes: int
    max_headers: int
    header_timeout: float
    keepalive_timeout: float
    max_connections: int
    makes_room: bool = False
    """Whether a connection beyond the limit replaces the oldest idle one."""


class Connection(RequestHandler):
    """aiohttp's connection, with a deadline and a maximum size for the headers of each request."""

    __slots__ = (
        "_arrived",
        "_budget",
        "_header_bytes",
        "_header_timer",
        "_lane",
        "_last_body",
        "_limits",
        "_metrics",
        "_server",
        "_unread_body",
        "_unread_timer",
    )

    def __init__(
        self,
        manager: GateServer,
        *,
        limits: ConnectionLimits,
        metrics: Metrics,
        lane: FastLane | None,
        budget: HeadBudget,
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
        self._server = manager
        self._limits = limits
        self._metrics = metrics
        self._lane = lane
        self._arrived = b""
        """What has arrived for the fast lane, which reads it before the event loop waits again."""
        self._budget = budget
        self._last_body: StreamReader | None = None
        """The body of the last request with a complete head."""
        self._header_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread_body: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        """Leave bytes to the fast lane if they may be its request, else to aiohttp."""
        if self._unread_body is not None:
            return
        if self._arrived:
            self._server.decide([self])
        waiter = self._waiter
        if (
            self._lane is not None
            # aiohttp waits for the first byte of a request, or will do so in the next turn of the event loop.
            and (self._will_wait if waiter is None else not waiter.done())
            and self._header_timer is None
            and not self._paused
            and not self._upgraded
            and not self._force_close
        ):
            self._arrived = data
            self._server.decide_soon(self, later=waiter is None)
        else:
            self._feed(data)

    @property
    def _will_wait(self) -> bool:
        """Whether aiohttp will wait for a request in the next turn: all earlier ones are answered and have ended."""
        return (
            (self._last_body is None or self._last_body.is_eof())
            and not self._request_in_progress
            and not self._messages
            and not self._close
        )

    def decide(self, at: Moment | None, now: float) -> bytes | None:
        """Return the fast lane's answer to the request that has arrived, or have aiohttp read and answer it.

        `at` is from the lane's `begin`, or None if there is no lane. `now` is the time of the event loop.
        """
        data, self._arrived = self._arrived, b""
        if not data:
            return None
        lane, waiter = self._lane, self._waiter
        if lane is None or at is None:
            self._feed(data)
            return None
        if waiter is not None and not waiter.done():  # done if the connection ends
            answer = lane.answer(data, at)
            if answer is not None:
                self._next_keepalive_close_time = now + self._keepalive_timeout  # as aiohttp would have
                return answer
        self._feed(data)
        lane.begin()  # the next answer's time starts now
        return None

    def _process_keepalive(self) -> None:
        """End the connection if it has been idle for too long. What has just arrived is decided first."""
        self._server.decide([self])
        super()._process_keepalive()

    def fail(self, error: Exception) -> None:
        """End the connection after an unexpected error, which the event loop logs."""
        self._loop.call_exception_handler({"message": "reading a request failed", "exception": error})
        if self.transport is not None:
            self.transport.abort()

    def _feed(self, data: bytes) -> None:
        """Feed aiohttp's parser, and limit the time and size of an incomplete head."""
        requests, body = self._request_count, self._last_body
        before = None if body is None or body.is_eof() else body.total_bytes
        super().data_received(data)
        if not data:
            return  # aiohttp parses bytes that it had kept; they were counted when they arrived
        if self._request_count != requests or (self._buffer_paused and HEAD_END in data):
            self._headers_complete()
            data = self._next_head(data)
        elif before is not None and body is not None:
            data = data[body.total_bytes - before :] if body.is_eof() else b""
        if data:
            self._headers_incomplete(data)

    def _next_head(self, data: bytes) -> bytes:
        """Return the bytes of another head behind complete ones. Where this is unclear, return too many."""
        if not self._messages or self._buffer_paused:
            return after_last_head(data)
        message, self._last_body = self._messages[-1]
        if not isinstance(message, RawRequestMessage) or not self._last_body.is_eof():
            return b""
        sized = self._last_body is not EMPTY_PAYLOAD and not message.chunked
        return after_last_head(data, body=self._last_body.total_bytes if sized else None)

    def leave_lane(self) -> None:
        """Answer all further requests through aiohttp."""
        self._lane = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer. If the client has not sent its body, also end the writing side at once.

        Reading continues for a while: closing a connection with unread bytes resets it, and the answer is lost.
        """
        finished = await super().finish_response(request, resp, start_time)
        if self._unread_body is not None and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        return finished

    def discard_rest(self, body: StreamReader) -> None:
        """Discard everything that arrives from now on, because the body of a request is missing."""
        self._unread_body = body

    @property
    def idle(self) -> bool:
        """Whether no request is being answered. A head, or the body of an answered request, may be arriving."""
        if self._arrived:
            return False
        if self._unread_body is not None:
            return not self._request_in_progress
        return self._waiter is not None and not self._messages

    def pause_writing(self) -> None:
        """End the connection if the client does not read its answers within the timeout for request headers."""
        super().pause_writing()
        if self.transport is not None:
            abort = self.transport.abort
            self._unread_timer = self._loop.call_later(self._limits.header_timeout, abort)

    def resume_writing(self) -> None:
        """Continue, because the client reads again."""
        self._stop_unread_timer()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timers when the connection is lost, and forget what has arrived."""
        self._headers_complete()
        self._stop_unread_timer()
        self._arrived = b""
        if self._unread_body is not None:
            self._unread_body.feed_eof()  # aiohttp waits for it
        super().connection_lost(exc)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _headers_complete(self) -> None:
        self._budget.release(self)
        self._header_bytes = 0
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_incomplete(self, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > self._limits.max_header_bytes:
            self._end(431, _HEADERS_TOO_LARGE)
            return
        if self._header_timer is None:
            self._header_timer = self._loop.call_later(self._limits.header_timeout, self.end_head)
        self._budget.charge(self, data)

    def end_head(self) -> None:
        """End the connection, because its head took too long or is the oldest of too many."""
        self._end(408, _REQUEST_TIMEOUT)

    def _end(self, status: int, answer: bytes) -> None:
        self._headers_complete()
        self._parser = None  # frees the bytes of the head; the connection itself may end much later
        if self.transport is None:
            return
        self._metrics.http_errors[str(status)] += 1
        if not self._messages and (self._waiter is not None or not self._request_count):
            self.transport.write(answer)  # else the client would take it for the answer to an earlier request
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request with an empty body, and quote it nowhere."""
        headers = {"Cache-Control": "no-store", "Server": "authgate"}
        if isinstance(exc, LineTooLong) or (isinstance(exc, BadHttpMessage) and exc.message == _TOO_MANY):
            status = 431
        elif status >= 500:  # the handler failed outside its own last line of defence
            status = 503
            headers |= {REASON_HEADER: Reason.INTERNAL_ERROR.value, "Retry-After": "1"}
            self._metrics.internal_errors += 1
            places = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
            ids = self._manager.ids if isinstance(self._manager, GateServer) else None
            request_id = None if ids is None else ids.of(request.raw_headers)
            if ids is not None and request_id is not None:
                headers |= dict(ids.answer_headers(request_id))
            event(
                logging.ERROR,
                "unexpected error; the request was answered 503",
                **named(request_id),
                exception_stacktrace=places,
            )
        self._metrics.http_errors[str(status)] += 1
        response = web.Response(status=status, headers=headers)
        response.force_close()
        return response


class GateServer(web.Server):
    """aiohttp's low-level server with a limit on connections and on each connection.

    `on_unread_body` is called when a request is answered before its announced body has arrived, `on_refused` for each
    refused connection. Servers that share a `budget` share the memory for unfinished heads. With `ids`, refusals have
    the id of the request.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ConnectionLimits,
        metrics: Metrics,
        *,
        lane: FastLane | None = None,
        budget: HeadBudget | None = None,
        on_refused: Callable[[], None] = lambda: None,
        on_unread_body: Callable[[], None] = lambda: None,
        ids: RequestIds | None = None,
    ) -> None:
        super().__init__(self._answer)
        self.ids = ids
        self._handle = handler
        self._budget = budget or HeadBudget(
            worst_case(limits.max_header_bytes, limits.max_headers) * limits.max_connections
        )
        self._on_refused = on_refused
        self._lane = lane
        self._limits = limits
        self._metrics = metrics
        self._on_unread_body = on_unread_body
        self._draining = False
        self._handshakes = 0
        self._arrived: list[Connection] = []

    @property
    def handshake_timeout(self) -> float:
        """Seconds that a TLS handshake may take: as many as the head of a request."""
        return self._limits.header_timeout

    def begin_handshake(self) -> bool:
        """Count a TLS handshake, or return False if there are too many connections."""
        if len(self._connections) + self._handshakes >= self._limits.max_connections:
            self._refused()
            return False
        self._handshakes += 1
        return True

    def end_handshake(self) -> None:
        """Stop counting a TLS handshake: it failed, or its connection is now counted."""
        self._handshakes -= 1

    def drain(self) -> None:
        """Close each connection with its next answer, so that clients reconnect to another gate in time."""
        self._draining = True
        self._lane = None
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.leave_lane()

    def decide_soon(self, connection: Connection, *, later: bool) -> None:
        """Decide a request before the event loop waits again, together with others that have arrived.

        Reading, deciding and sending for several connections in turn costs less CPU time, because the processor's
        caches keep the code of each step, and because a client that gets its answers together is woken once. With
        `later`, decide it in the next turn of the event loop.
        """
        if later:
            self._loop.call_soon(self.decide, [connection])
            return
        if not self._arrived:
            self._loop.call_soon(self._decide_arrived)
        self._arrived.append(connection)
        if len(self._arrived) >= _DECIDED_TOGETHER:
            self._decide_arrived()

    def _decide_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        self.decide(arrived)

    def decide(self, connections: Sequence[Connection]) -> None:
        """Decide the requests that have arrived at these connections, and send the answers."""
        now = self._loop.time()
        at = None if self._lane is None else self._lane.begin()
        answered: list[tuple[Connection, bytes]] = []
        for connection in connections:
            try:
                answer = connection.decide(at, now)
            except Exception as error:  # noqa: BLE001 - other connections are not affected
                connection.fail(error)
            else:
                if answer is not None:
                    answered.append((connection, answer))
        for connection, answer in answered:
            try:
                if connection.transport is not None:
                    connection.transport.write(answer)
            except Exception as error:  # noqa: BLE001 - other connections are not affected
                connection.fail(error)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response: web.StreamResponse
        if (
            sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
            > self._limits.max_header_bytes
        ):
            response = self._refusal(431, request)
        elif not request.raw_path.startswith("/") or request.method == "CONNECT":
            # Proxies send a path, the origin-form of RFC 9112, section 3.2.
            response = self._refusal(400, request)
        else:
            response = await self._handle(request)
        if not request.content.is_eof():
            self._on_unread_body()
            if isinstance(request.protocol, Connection):
                request.protocol.discard_rest(request.content)
            response.force_close()
        elif self._draining or "Upgrade" in request.headers:
            response.force_close()  # after an upgrade the client continues in another protocol
        return response

    def _refusal(self, status: int, request: web.BaseRequest) -> web.Response:
        self._metrics.http_errors[str(status)] += 1
        headers = {"Cache-Control": "no-store", "Server": "authgate"}
        if self.ids is not None:
            headers |= dict(self.ids.answer_headers(self.ids.of(request.raw_headers)))
        response = web.Response(status=status, headers=headers)
        response.force_close()
        return response

    def __call__(self) -> Connection:
        """Return a new connection."""
        return Connection(
            self,
            loop=self._loop,
            limits=self._limits,
            metrics=self._metrics,
            lane=self._lane,
            budget=self._budget,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Register a connection, or close it at once if there are too many."""
        super().connection_made(handler, transport)
        if self._draining and isinstance(handler, Connection):
            handler.leave_lane()  # it was created before, as at the beginning of a TLS handshake
        own_handshake = transport.get_extra_info("sslcontext") is not None  # it is counted off a moment later
        if len(self._connections) + self._handshakes - own_handshake <= self._limits.max_connections:
            return
        self._refused()
        given_up = self._oldest_idle() if self._limits.makes_room else None
        if given_up is not None:
            given_up.abort()
        else:
            # Not at once: aiohttp's task of a connection fails if the connection is lost before the task starts.
            self._loop.call_soon(transport.abort)

    def _refused(self) -> None:
        self._metrics.connections_refused += 1
        self._on_refused()

    def _oldest_idle(self) -> asyncio.Transport | None:
        for connection in self.connections:
            if not isinstance(connection, Connection) or not connection.idle:
                continue
            transport = connection.transport
            if transport is not None and not transport.is_closing():
                return transport
        return None


def runner_of(server: GateServer, shutdown_timeout: float) -> web.ServerRunner:
    """Return a runner that opens a server on addresses. An event loop must be running.

    When the runner closes, open requests have `shutdown_timeout` seconds to finish.
    """
    return web.ServerRunner(server, shutdown_timeout=shutdown_timeout)
