"""The verify port: one answer for any method and any path below its endpoints, decided from the headers alone."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import CIMultiDict

from authgate.model import Allow, OriginalRequest
from authgate.observability.log import event
from authgate.server.decider import Decider
from authgate.server.http.request import endpoint_of, original_request
from authgate.server.http.response import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock
    from authgate.observability.metrics import Metrics
    from authgate.server.record import Recorder
    from authgate.server.serving import Serving
    from authgate.vocabulary import Proxy

_WARN_EVERY: Final = 60.0


class VerifyHandler:
    """Answers subrequests. `serving` is asked at each request, so that a reload takes effect on the next one."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        metrics: Metrics,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._decider = Decider(serving, metrics=metrics, recorder=recorder, clock=clock)

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the answer; whatever goes wrong inside, it is never a 500."""
        headers = request.raw_headers
        endpoint = endpoint_of(request.raw_path)
        policy = endpoint.policy if endpoint else None

        def original(proxy: Proxy | None) -> OriginalRequest:
            if endpoint is None:
                return OriginalRequest()
            return original_request(proxy, headers, request.method, endpoint)

        decision, forward = await self._decider.decide(policy, headers, original)
        status, answer = render(decision)
        if isinstance(decision, Allow):
            answer += forward
        return web.Response(status=status, headers=CIMultiDict(answer))


class UnreadBodies:
    """Warns, once a minute at most, of a proxy that announces bodies which it does not send."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned_at = -math.inf

    def __call__(self) -> None:
        """Log what to change in the proxy's configuration."""
        now = self._clock.monotonic()
        if now - self._warned_at < _WARN_EVERY:
            return
        self._warned_at = now
        event(
            logging.WARNING,
            "a request announced a body that had not arrived when it was answered; its connection was closed",
            remedy="ask the gate without a body; in nginx, put both lines into the location that asks the gate: "
            'proxy_pass_request_body off; proxy_set_header Content-Length "";',
        )
