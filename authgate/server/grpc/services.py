"""The callable services: Envoy's Authorization and gRPC's health check. There is no reflection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from authgate.server.grpc.mapping import answer_of, client_of, headers_of, original_of, policy_of, refusal
from authgate.server.request_facts import Subrequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.observability.metrics import Metrics
    from authgate.server.decider import Decider
    from authgate.server.http.head_budget import HeadBudget
    from authgate.server.request_ids import RequestIds

    Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

AUTHORIZATION: Final = "envoy.service.auth.v3.Authorization"
HEALTH: Final = "grpc.health.v1.Health"
_AT_ONCE: Final = 0.25
"""Seconds after which a message counts as slow."""


class Arrival:
    """Limit how long a message may take to arrive, and charge slow ones to the memory budget.

    gRPC does not show how much of a message has arrived, so a slow one is charged `size` bytes, the maximum. Nearly
    all messages arrive at once.
    """

    def __init__(self, timeout: float, budget: HeadBudget, size: int) -> None:
        self._timeout = timeout
        self._budget = budget
        self._size = size

    async def read(self, context: Context) -> object:
        """Return a call's message; raise TimeoutError if it is too slow or the oldest of too many."""
        async with asyncio.timeout(self._timeout) as limit:
            holder = _Slow(limit)
            late = asyncio.get_running_loop().call_later(_AT_ONCE, self._budget.reserve, holder, self._size)
            try:
                return await context.read()
            finally:
                late.cancel()
                self._budget.release(holder)


class _Slow:
    """A call whose message has not arrived."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit

    def end_head(self) -> None:
        """End the wait for the message now."""
        self._limit.reschedule(asyncio.get_running_loop().time())


class Authorization:
    """Answer check requests with the gate's decisions. `max_header_bytes` limits the headers of one request."""

    def __init__(
        self, decider: Decider, metrics: Metrics, max_header_bytes: int, ids: RequestIds | None = None
    ) -> None:
        self._ids = ids
        self._decider = decider
        self._metrics = metrics
        self._max_header_bytes = max_header_bytes

    def handler(self, arrival: Arrival) -> grpc.GenericRpcHandler:
        """Return the handler that a server registers."""
        return _handler(AUTHORIZATION, self.check, CheckRequest, CheckResponse, arrival)

    async def check(self, request: CheckRequest, _context: Context) -> CheckResponse:
        """Return the gate's answer."""
        headers = headers_of(request)
        request_id = self._ids.of(headers) if self._ids else None
        more = self._ids.answer_headers(request_id) if self._ids and request_id else ()
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._max_header_bytes:
            self._metrics.http_errors["431"] += 1
            return refusal(431, (*more, ("Cache-Control", "no-store")))
        decision, forward = await self._decider.decide(
            Subrequest(
                policy_of(request),
                headers,
                lambda _proxy: original_of(request, headers),
                lambda _proxy: client_of(request),
                request_id,
            )
        )
        return answer_of(decision, forward, headers, reads_basic=self._decider.reads_basic, more=more)


class Health:
    """Report whether the gate is ready, under the empty name and under that of Authorization.

    There is no Watch method, because it would keep calls open without a limit.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def handler(self, arrival: Arrival) -> grpc.GenericRpcHandler:
        """Return the handler that a server registers."""
        return _handler(HEALTH, self.check, HealthCheckRequest, HealthCheckResponse, arrival)

    async def check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """Return the current health."""
        if request.service not in ("", AUTHORIZATION):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        status = HealthCheckResponse.SERVING if self._ready() else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)


def _handler(
    service: str,
    answer: Callable[[Any, Context], Awaitable[Any]],
    request: Any,
    response: Any,
    arrival: Arrival,
) -> grpc.GenericRpcHandler:
    """Return a service with the one method Check. It reads the message itself: gRPC would wait without a timeout."""

    async def check(_messages: object, context: Context) -> object:
        try:
            message = await arrival.read(context)
        except TimeoutError:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not arrive within the time limit"
            )
        if not isinstance(message, request):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call needs one message")
        return await answer(message, context)

    method = grpc.stream_unary_rpc_method_handler(check, request.FromString, response.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {"Check": method})
