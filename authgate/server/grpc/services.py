"""What can be called: Envoy's Authorization, and the question of gRPC's own health service. There is no reflection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from authgate.server.grpc.mapping import answer_of, headers_of, original_of, policy_of, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.observability.metrics import Metrics
    from authgate.server.decider import Decider
    from authgate.server.http.head_budget import HeadBudget

    Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

AUTHORIZATION: Final = "envoy.service.auth.v3.Authorization"
HEALTH: Final = "grpc.health.v1.Health"
_AT_ONCE: Final = 0.25
"""Seconds after which a message counts as slow."""


class Arrival:
    """How long a message may take to arrive, and how much of the budget one takes that is slow.

    gRPC keeps what has arrived of a message, up to `size` bytes, out of sight. Nearly all messages come at once.
    """

    def __init__(self, timeout: float, budget: HeadBudget, size: int) -> None:
        self._timeout = timeout
        self._budget = budget
        self._size = size

    async def read(self, context: Context) -> object:
        """Return a call's message; raises TimeoutError for one that is too slow, or the oldest of too many."""
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
        """Let its time be over."""
        self._limit.reschedule(asyncio.get_running_loop().time())


class Authorization:
    """Answers check requests with the gate's decisions; the headers of one may be so many bytes."""

    def __init__(self, decider: Decider, metrics: Metrics, max_header_bytes: int) -> None:
        self._decider = decider
        self._metrics = metrics
        self._max_header_bytes = max_header_bytes

    def handler(self, arrival: Arrival) -> grpc.GenericRpcHandler:
        """Return what a server registers."""
        return _handler(AUTHORIZATION, self.check, CheckRequest, CheckResponse, arrival)

    async def check(self, request: CheckRequest, _context: Context) -> CheckResponse:
        """Return the gate's answer."""
        headers = headers_of(request)
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._max_header_bytes:
            self._metrics.http_errors["431"] += 1
            return refusal(431, (("Cache-Control", "no-store"),))
        decision, forward = await self._decider.decide(
            policy_of(request), headers, lambda _proxy: original_of(request, headers)
        )
        return answer_of(decision, forward, headers)


class Health:
    """Tells what `ready` says of the gate as a whole, which has no name, and of Authorization.

    It can be asked and not watched, which would keep calls open for as long as somebody likes.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def handler(self, arrival: Arrival) -> grpc.GenericRpcHandler:
        """Return what a server registers."""
        return _handler(HEALTH, self.check, HealthCheckRequest, HealthCheckResponse, arrival)

    async def check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """Return how it is now."""
        if request.service not in ("", AUTHORIZATION):
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        status = HealthCheckResponse.SERVING if self._ready() else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)


def _handler(
    service: str,
    answer: Callable[[Any, Context], Awaitable[Any]],
    request: Any,
    response: Any,
    arrival: Arrival,
) -> grpc.GenericRpcHandler:
    """Return a service with one method, Check; its one message is read here: gRPC would wait for it without an end."""

    async def check(_messages: object, context: Context) -> object:
        try:
            message = await arrival.read(context)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not come in time")
        if not isinstance(message, request):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call has one message")
        return await answer(message, context)

    method = grpc.stream_unary_rpc_method_handler(check, request.FromString, response.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {"Check": method})
