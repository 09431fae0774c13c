"""A collector of traces that speaks OTLP over HTTP with JSON, on loopback."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as a collector reads it. `parent` is "" for the first span of a trace."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    status: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass(slots=True)
class Collector:
    """Receives spans for the duration of `with`. With `status`, it answers with an error instead."""

    status: int = 200
    tls: ssl.SSLContext | None = None
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    """The headers of each export, with names in lower case."""
    bodies: list[bytes] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append({name.lower(): text for name, text in self.headers.items()})
                if collector.status == 200:
                    assert self.path == "/v1/traces"
                    assert self.headers["Content-Type"] == "application/json"
                    collector.bodies.append(body)
                    collector.spans += _spans(json.loads(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_arguments: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """The endpoint, without a path."""
        assert self._server is not None
        scheme, host = ("http", "127.0.0.1") if self.tls is None else ("https", "localhost")
        return f"{scheme}://{host}:{self._server.server_address[1]}"

    def named(self, name: str) -> list[ReceivedSpan]:
        """Return the spans with this name."""
        return [span for span in self.spans if span.name == name]


def _spans(document: dict[str, Any]) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            span["name"],
            span["traceId"],
            span["spanId"],
            span.get("parentSpanId", ""),
            span["kind"],
            span.get("status", {}).get("code", 0),
            _attributes(span),
            _attributes(group["resource"]),
        )
        for group in document["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: _value(item["value"]) for item in holder.get("attributes", ())}


def _value(member: dict[str, Any]) -> Any:
    ((kind, content),) = member.items()
    return int(content) if kind == "intValue" else content  # 64-bit integers are strings in protobuf's JSON
