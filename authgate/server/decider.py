"""Decide a subrequest, for every protocol: by the configuration in use, counted and recorded."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from authgate.credential.sources import ONLY_AUTHORIZATION, describe_places
from authgate.errors import REASONS, Reason, Step
from authgate.model import NO_EVIDENCE, Decision, Deny, OriginalRequest, Unavailable
from authgate.observability.log import event, traceback_of
from authgate.server.record import describe
from authgate.server.request_facts import facts_of, trace_parent
from authgate.server.request_ids import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from authgate.credential.sources import Sources
    from authgate.gate import Gate
    from authgate.model import Clock, Headers
    from authgate.observability.metrics import Metrics
    from authgate.observability.tracing import DecisionSpan, Tracing
    from authgate.server.exchange import Exchange
    from authgate.server.record import Recorder
    from authgate.server.request_facts import RequestFacts, Subrequest
    from authgate.vocabulary import Proxy

_NO_REQUEST = OriginalRequest()
_NOT_FOUND = Deny(Reason.NO_SUCH_ENDPOINT, "", NO_EVIDENCE)


@dataclass(slots=True, eq=False)
class Serving:
    """A gate, the proxy whose headers it trusts, and where tokens are found.

    Enter it while waiting for one of its decisions: `idle` waits for those that have entered.
    """

    gate: Gate
    proxy: Proxy | None
    sources: Sources = ONLY_AUTHORIZATION
    exchange: Exchange | None = None
    _in_flight: int = field(default=0, init=False)
    _left: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __enter__(self) -> Gate:
        self._in_flight += 1
        return self.gate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._left.set()

    async def idle(self) -> None:
        """Return once no decision is in flight. Await it when no new one can start."""
        if self._in_flight:
            self._left.clear()
            await self._left.wait()


class Decider:
    """Decide subrequests. `serving` is called for each one, so a reload takes effect at the next."""

    def __init__(
        self,
        serving: Callable[[], Serving],
        *,
        metrics: Metrics,
        recorder: Recorder,
        clock: Clock,
        tracing: Tracing | None = None,
    ) -> None:
        self._serving = serving
        self._metrics = metrics
        self._recorder = recorder
        self._clock = clock
        self._tracing = tracing

    @property
    def reads_basic(self) -> bool:
        """Whether a Basic password can be a token, so that a 401 asks for one."""
        return self._serving().sources.reads_basic

    async def decide(self, subrequest: Subrequest) -> tuple[Decision, Headers]:
        """Return the decision, and the headers that an allowing answer adds about credentials. Never raise."""
        if self._tracing is None:
            return await self._decide_and_record(subrequest, None)
        with self._tracing.decision(trace_parent(subrequest.headers)) as span:
            return await self._decide_and_record(subrequest, span)

    async def _decide_and_record(
        self, subrequest: Subrequest, span: DecisionSpan | None
    ) -> tuple[Decision, Headers]:
        metrics = self._metrics
        started = self._clock.monotonic()
        metrics.in_flight += 1
        serving = self._serving()
        counted_policy = ""
        forward: Headers = ()
        found: list[bytes] = []
        try:
            decision, counted_policy, forward = await self._decide(serving, subrequest, found, span)
        except Exception as error:  # noqa: BLE001 - the last line of defence: the client gets a 503
            secrets = [*serving.sources.secrets(subrequest.headers), *found]
            decision = self._internal_error(error, secrets, subrequest.request_id)
        finally:
            metrics.in_flight -= 1
        seconds = self._clock.monotonic() - started
        about = partial(_facts, serving, counted_policy, subrequest, found, span)
        self._recorder.record(decision, counted_policy, seconds, about)
        if span is not None:
            describe(span, decision, counted_policy)
            status = REASONS[decision.reason].status
            span.describe({"http.request.id": subrequest.request_id, "http.response.status_code": status})
        return decision, forward

    async def _decide(
        self,
        serving: Serving,
        subrequest: Subrequest,
        credentials: list[bytes],
        span: DecisionSpan | None,
    ) -> tuple[Decision, str, Headers]:
        """Return the decision, the policy to count and the headers to forward; add what is read to `credentials`."""
        policy = subrequest.policy
        if policy is None or policy not in serving.gate.policies:
            return _NOT_FOUND, "", ()
        request = _NO_REQUEST
        with serving as gate:
            if serving.sources.reads_query or gate.looks_at_request(policy):
                request = subrequest.original(serving.proxy)
            found = serving.sources.read(subrequest.headers, request)
            credentials += found.values  # decoded ones are not in any header
            if found.ambiguous:
                return Deny(Reason.CREDENTIAL_AMBIGUOUS, found.ambiguous, NO_EVIDENCE), policy, ()
            if len(found.values) > 1:
                places = describe_places(found.places)
                return Deny(Reason.MULTIPLE_CREDENTIALS, places, NO_EVIDENCE), policy, ()
            about = partial(_facts, serving, policy, subrequest, credentials, span)
            on_difference = partial(self._recorder.difference, about=about)
            decision = await gate.decide(found.values, policy, request, on_difference=on_difference)
            if isinstance(decision, Deny) and not serving.sources.only_authorization:
                decision = _located(decision, found.places, serving.sources.places)
            return decision, policy, found.forward

    def _internal_error(self, error: Exception, values: list[bytes], request_id: str | None) -> Unavailable:
        self._metrics.internal_errors += 1
        secrets = [part.decode("latin-1") for value in values for part in value.split()]
        event(
            logging.ERROR,
            "unexpected error; the request was answered 503",
            **named(request_id),
            error_type=type(error).__name__,
            exception_stacktrace=traceback_of(error, *secrets),
        )
        return Unavailable(Reason.INTERNAL_ERROR, "", 1, NO_EVIDENCE)


def _facts(
    serving: Serving,
    policy: str,
    subrequest: Subrequest,
    credentials: list[bytes],
    span: DecisionSpan | None,
) -> RequestFacts:
    facts = facts_of(subrequest, serving.proxy, serving.gate.policies.get(policy), credentials)
    ids = None if span is None else span.ids
    return facts if ids is None else replace(facts, trace=ids)


def _located(denial: Deny, places: tuple[str, ...], searched: str) -> Deny:
    """Return a denial whose detail names the place of a bad credential, or the places where one is read from."""
    if REASONS[denial.reason].step is not Step.CREDENTIAL:
        return denial
    place = ", ".join(places) or f"authgate reads it from {searched}"
    return replace(denial, detail=f"{place}: {denial.detail}" if denial.detail else place)
