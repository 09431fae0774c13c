"""The verify port: answer any method and any path below the endpoints, from the headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from authgate.model import Allow, OriginalRequest
from authgate.server.decider import Decider
from authgate.server.http import web
from authgate.server.http.request import endpoint_of, original_request
from authgate.server.http.response import render
from authgate.server.request_facts import Subrequest, forwarded_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import Tracing
    from authgate.server.decider import Serving
    from authgate.server.record import Recorder
    from authgate.server.request_ids import RequestIds
    from authgate.vocabulary import Proxy


class VerifyHandler:
    """Answer subrequests. `serving` is called for each request, so a reload takes effect at the next one.

    Without `ids`, requests have no id; without `tracing`, they have no spans.
    """

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        metrics: Metrics,
        recorder: Recorder,
        clock: Clock,
        ids: RequestIds | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._ids = ids
        self._decider = Decider(serving, metrics=metrics, recorder=recorder, clock=clock, tracing=tracing)

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the answer. After an internal error it is a 503, never a 500."""
        headers = request.raw_headers
        endpoint = endpoint_of(request.raw_path)
        policy = endpoint.policy if endpoint else None

        def original(proxy: Proxy | None) -> OriginalRequest:
            if endpoint is None:
                return OriginalRequest()
            return original_request(proxy, headers, request.method, endpoint)

        request_id = self._ids.of(headers) if self._ids else None
        decision, forward = await self._decider.decide(
            Subrequest(policy, headers, original, lambda proxy: forwarded_for(proxy, headers), request_id)
        )
        more = self._ids.answer_headers(request_id) if self._ids and request_id else ()
        status, answer = render(decision, reads_basic=self._decider.reads_basic, more=more)
        if isinstance(decision, Allow):
            answer += forward
        return web.Response(status=status, headers=CIMultiDict(answer))
