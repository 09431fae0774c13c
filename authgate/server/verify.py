"""The verify port: one answer for any method and any path below its endpoints, decided from the headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from authgate.model import Allow, OriginalRequest
from authgate.server.decider import Decider
from authgate.server.request import endpoint_of, original_request, values_of
from authgate.server.response import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.metrics import Metrics
    from authgate.model import Clock
    from authgate.server.record import Recorder
    from authgate.server.request import Proxy
    from authgate.server.serving import Serving


class VerifyHandler:
    """Answers subrequests. `serving` is asked at each request, so that a reload takes effect on the next one."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        max_header_bytes: int,
        metrics: Metrics,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._decider = Decider(serving, metrics=metrics, recorder=recorder, clock=clock)
        self._max_header_bytes = max_header_bytes
        self._metrics = metrics

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the answer; whatever goes wrong inside, it is never a 500."""
        headers = request.raw_headers
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._max_header_bytes:
            self._metrics.http_errors["431"] += 1
            return web.Response(status=431, headers={"Cache-Control": "no-store", "Server": "authgate"})
        # A 2xx to CONNECT opens a tunnel and has no Content-Length (RFC 9110, section 9.3.6); its target is no path.
        endpoint = None if request.method == "CONNECT" else endpoint_of(request.raw_path)
        policy = endpoint.policy if endpoint else None

        def original(proxy: Proxy) -> OriginalRequest:
            if endpoint is None:
                return OriginalRequest()
            return original_request(proxy, headers, request.method, endpoint)

        decision, forward = await self._decider.decide(policy, headers, original)
        status, answer = render(decision)
        if isinstance(decision, Allow):
            answer += forward
        response = web.Response(status=status, headers=CIMultiDict(answer))
        if request.method == "CONNECT" or values_of(headers, b"upgrade"):
            response.force_close()  # the client may go on in another protocol; none of it is taken for a request
        return response
