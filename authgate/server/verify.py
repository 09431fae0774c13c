"""The verify port: one answer for any method and any path below its endpoints, decided from the headers alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from authgate.errors import Reason
from authgate.log import event, traceback_of
from authgate.model import NO_EVIDENCE, CannotTell, Decision, Deny, OriginalRequest
from authgate.server.request import credentials, endpoint_of, original_request, values_of
from authgate.server.response import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.gate import Gate
    from authgate.metrics import Metrics
    from authgate.model import Clock
    from authgate.server.record import Recorder
    from authgate.server.request import Proxy

_NO_REQUEST = OriginalRequest()
_NOT_FOUND = Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)


class VerifyHandler:
    """Answers subrequests. `gate` is asked for at each request, so that a reload takes effect on the next one."""

    def __init__(
        self,
        gate: Callable[[], Gate],
        *,
        proxy: Proxy,
        max_header_bytes: int,
        metrics: Metrics,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._proxy = proxy
        self._max_header_bytes = max_header_bytes
        self._metrics = metrics
        self._recorder = recorder
        self._clock = clock

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the answer; whatever goes wrong inside, it is never a 500."""
        metrics = self._metrics
        headers = request.raw_headers
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._max_header_bytes:
            metrics.http_errors["431"] += 1
            return web.Response(status=431, headers={"Cache-Control": "no-store", "Server": "authgate"})
        started = self._clock.monotonic()
        metrics.in_flight += 1
        policy = ""
        try:
            decision, policy = await self._decide(request)
        except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happens, the wire gets a 503
            decision = self._internal_error(error, credentials(headers))
        finally:
            metrics.in_flight -= 1
        status, answer = render(decision)
        self._recorder.record(decision, policy, self._clock.monotonic() - started)
        response = web.Response(status=status, headers=CIMultiDict(answer))
        if request.method == "CONNECT" or values_of(headers, b"upgrade"):
            response.force_close()  # the client may go on in another protocol; none of it is taken for a request
        return response

    async def _decide(self, request: web.BaseRequest) -> tuple[Decision, str]:
        # A 2xx to CONNECT opens a tunnel and has no Content-Length (RFC 9110, section 9.3.6); its target is no path.
        endpoint = None if request.method == "CONNECT" else endpoint_of(request.raw_path)
        gate = self._gate()
        if endpoint is None or endpoint.policy not in gate.policies:
            return _NOT_FOUND, ""
        headers = request.raw_headers
        original = _NO_REQUEST
        if gate.looks_at_request(endpoint.policy):
            original = original_request(self._proxy, headers, request.method, endpoint.rest)
        return await gate.decide(credentials(headers), endpoint.policy, original), endpoint.policy

    def _internal_error(self, error: Exception, values: list[bytes]) -> CannotTell:
        self._metrics.internal_errors += 1
        secrets = [part.decode("latin-1") for value in values for part in value.split()]
        event(
            logging.ERROR,
            "unexpected error; the request was answered 503",
            error_type=type(error).__name__,
            exception_stacktrace=traceback_of(error, *secrets),
        )
        return CannotTell(Reason.INTERNAL_ERROR, "", 1, NO_EVIDENCE)
