"""Traces: a span for each decision and for the requests to other servers that it waits for, exported by OTLP.

Only this module imports OpenTelemetry, and it is imported only if `tracing` is configured. Create a `Tracing` in the
process that decides, after a fork: it starts a thread. Spans never contain a token, a query or a user name.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from authgate import __version__
from authgate.model import value
from authgate.observability.log import event, masked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from opentelemetry.trace import Span

    from authgate.observability.audit import Trace

T = TypeVar("T")

_MAX_QUEUED: Final = 2048
_MAX_BATCH: Final = 512
_EXPORT_INTERVAL: Final = 5000.0
"""Milliseconds between two exports."""
_EXPORT_TIMEOUT: Final = 10.0
_FLUSH_TIMEOUT: Final = 3.0
_QUIET: Final = 60.0
_MAX_ATTRIBUTE: Final = 256
_MAX_CAUSE: Final = 300
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Parent(Protocol):
    """The proxy's span, in hexadecimal digits."""

    @property
    def trace_id(self) -> str:
        """The id of the trace."""
        ...

    @property
    def span_id(self) -> str:
        """The id of the span."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether the proxy records the trace."""
        ...


@value
class SpanIds:
    """The ids of a recorded span, in hexadecimal digits."""

    trace_id: str
    span_id: str


class DecisionSpan:
    """The span of one decision."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def ids(self) -> Trace | None:
        """The ids for the audit line, or None if the span is not recorded."""
        if not self._span.is_recording():
            return None
        context = self._span.get_span_context()
        return SpanIds(format_trace_id(context.trace_id), format_span_id(context.span_id))

    def describe(self, attributes: Mapping[str, str | int | None], error: str | None = None) -> None:
        """Add the attributes that have a value. `error` is the type of an error of authgate itself."""
        if not self._span.is_recording():
            return
        for name, item in attributes.items():
            if item is not None:
                self._span.set_attribute(name, item)
        if error is not None:
            _fail(self._span, error)


class Tracing:
    """Record spans and export them in the background.

    A request's spans are recorded if its `traceparent` is sampled; without one, a share of `ratio` is. If the collector
    is slow or unreachable, spans are dropped, and a log line follows at most once a minute. `headers` are sent with
    each export, and their values are secret.
    """

    def __init__(
        self, url: str, *, ratio: float, ca_file: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._ratio = ratio
        headers = headers or {}
        logger = logging.getLogger("opentelemetry")
        logger.handlers[:] = [ExportLog(tuple(headers.values()))]
        logger.propagate = False
        resource = Resource.create(
            {
                "service.name": "authgate",
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
            }
        )
        self._provider = TracerProvider(
            ParentBased(TraceIdRatioBased(ratio)),
            resource.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=_MAX_ATTRIBUTE),
        )
        exporter = OTLPSpanExporter(url, certificate_file=ca_file, headers=headers, timeout=_EXPORT_TIMEOUT)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, _MAX_QUEUED, _EXPORT_INTERVAL, _MAX_BATCH)
        )
        self._tracer = self._provider.get_tracer("authgate", __version__)

    def may_record(self, parent: Parent | None) -> bool:
        """Return whether the spans of a request with this parent may be recorded."""
        return self._ratio > 0 if parent is None else parent.sampled

    @contextmanager
    def decision(self, parent: Parent | None, name: str = "decide") -> Iterator[DecisionSpan]:
        """Record the decision on a request; spans that start meanwhile in this task are its children."""
        context = Context()
        if parent is not None:
            flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
            remote = SpanContext(
                int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
            )
            context = set_span_in_context(NonRecordingSpan(remote), context)
        with self._tracer.start_as_current_span(
            name, context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield DecisionSpan(span)

    async def request(
        self,
        name: str,
        call: Callable[[], Awaitable[T]],
        *,
        method: str,
        url: str,
        attributes: Mapping[str, str],
        error_type: Callable[[Exception], str],
    ) -> T:
        """Return the result of `call`, a request to the server of `url`, and record it."""
        with self._tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT,
            attributes={"http.request.method": method, **_server(url), **attributes},
            record_exception=False,  # messages can have parts of what a client sent
            set_status_on_exception=False,
        ) as span:
            try:
                return await call()
            except Exception as error:
                _fail(span, error_type(error))
                raise

    async def close(self) -> None:
        """Export what is recorded, for at most 3 seconds."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        deadline = time.monotonic() + _FLUSH_TIMEOUT
        while ending.is_alive() and time.monotonic() < deadline:  # noqa: ASYNC110 - the thread may outlive the loop
            await asyncio.sleep(0.01)


class ExportLog(logging.Handler):
    """Log the first warning of the exporter in each minute."""

    def __init__(self, secrets: tuple[str, ...], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._secrets = secrets
        self._monotonic = monotonic
        self._quiet_until = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Log a warning, unless one was logged within a minute."""
        now = self._monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + _QUIET
        cause = masked(record.getMessage(), *self._secrets)[:_MAX_CAUSE]
        event(logging.WARNING, "traces are not exported; spans may be dropped", error_message=cause)


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _server(url: str) -> dict[str, str | int]:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    found: dict[str, str | int] = {"server.address": parts.hostname} if parts.hostname else {}
    return found if port is None else {**found, "server.port": port}
