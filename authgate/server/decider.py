"""What every protocol's handler does with a subrequest that it has read: one decision, counted and recorded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.model import NO_EVIDENCE, Decision, Deny, OriginalRequest, Unavailable
from authgate.observability.log import event, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.credential.bearer import RawHeaders
    from authgate.model import Clock, Headers
    from authgate.observability.metrics import Metrics
    from authgate.server.record import Recorder
    from authgate.server.serving import Serving
    from authgate.vocabulary import Proxy

_NO_REQUEST = OriginalRequest()
_NOT_FOUND = Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)


class Decider:
    """Decides subrequests. `serving` is asked at each of them, so that a reload takes effect on the next one."""

    def __init__(
        self, serving: Callable[[], Serving], *, metrics: Metrics, recorder: Recorder, clock: Clock
    ) -> None:
        self._serving = serving
        self._metrics = metrics
        self._recorder = recorder
        self._clock = clock

    async def decide(
        self, policy: str | None, headers: RawHeaders, original: Callable[[Proxy | None], OriginalRequest]
    ) -> tuple[Decision, Headers]:
        """Return the decision, and what an allowing answer says of credentials' places; whatever goes wrong inside.

        `policy` is None where the subrequest names none. `original` reads the client's request, where it is looked at.
        """
        metrics = self._metrics
        started = self._clock.monotonic()
        metrics.in_flight += 1
        judge = ""
        forward: Headers = ()
        try:
            decision, judge, forward = await self._decide(policy, headers, original)
        except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happens, the wire gets a 503
            decision = self._internal_error(error, self._serving().sources.secrets(headers))
        finally:
            metrics.in_flight -= 1
        self._recorder.record(decision, judge, self._clock.monotonic() - started)
        return decision, forward

    async def _decide(
        self, policy: str | None, headers: RawHeaders, original: Callable[[Proxy | None], OriginalRequest]
    ) -> tuple[Decision, str, Headers]:
        serving = self._serving()
        if policy is None or policy not in serving.gate.policies:
            return _NOT_FOUND, "", ()
        request = _NO_REQUEST
        with serving as gate:
            if serving.sources.reads_query or gate.looks_at_request(policy):
                request = original(serving.proxy)
            found = serving.sources.read(headers, request)
            if found.ambiguous:
                return Deny(Reason.CREDENTIAL_AMBIGUOUS, found.ambiguous, NO_EVIDENCE), policy, ()
            return await gate.decide(found.values, policy, request), policy, found.forward

    def _internal_error(self, error: Exception, values: list[bytes]) -> Unavailable:
        self._metrics.internal_errors += 1
        secrets = [part.decode("latin-1") for value in values for part in value.split()]
        event(
            logging.ERROR,
            "unexpected error; the request was answered 503",
            error_type=type(error).__name__,
            exception_stacktrace=traceback_of(error, *secrets),
        )
        return Unavailable(Reason.INTERNAL_ERROR, "", 1, NO_EVIDENCE)
