"""What can be called: Envoy's Authorization, and the question of gRPC's own health service. There is no reflection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from authgate.ext_authz.mapping import answer_of, headers_of, original_of, policy_of, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.metrics import Metrics
    from authgate.server.decider import Decider

    Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

AUTHORIZATION: Final = "envoy.service.auth.v3.Authorization"
HEALTH: Final = "grpc.health.v1.Health"


class Authorization:
    """Answers check requests with the gate's decisions; the headers of one may be so many bytes."""

    def __init__(self, decider: Decider, metrics: Metrics, max_header_bytes: int) -> None:
        self._decider = decider
        self._metrics = metrics
        self._max_header_bytes = max_header_bytes

    def handler(self, message_timeout: float) -> grpc.GenericRpcHandler:
        """Return what a server registers; a message may take so many seconds to arrive."""
        return _handler(AUTHORIZATION, self.check, CheckRequest, CheckResponse, message_timeout)

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

    def handler(self, message_timeout: float) -> grpc.GenericRpcHandler:
        """Return what a server registers; a message may take so many seconds to arrive."""
        return _handler(HEALTH, self.check, HealthCheckRequest, HealthCheckResponse, message_timeout)

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
    message_timeout: float,
) -> grpc.GenericRpcHandler:
    """Return a service with one method, Check; its one message is read here: gRPC would wait for it without an end."""

    async def check(_messages: object, context: Context) -> object:
        try:
            async with asyncio.timeout(message_timeout):
                message = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not come in time")
        if not isinstance(message, request):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call has one message")
        return await answer(message, context)

    method = grpc.stream_unary_rpc_method_handler(check, request.FromString, response.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {"Check": method})
