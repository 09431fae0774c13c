"""Answer the requests of the admin port. Metrics and the page are rendered at most once a second."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Protocol

from multidict import CIMultiDict

from authgate import __version__
from authgate.keys.fetch import is_loopback
from authgate.policy.paths import plain_host
from authgate.server.admin.access import AdminRequest, Admission
from authgate.server.admin.page import HEADERS, reasons_page, status_page
from authgate.server.exchange import signed_document
from authgate.server.http import web
from authgate.server.http.connection import ConnectionLimits, GateServer, runner_of
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from authgate.observability.metrics import Metrics
    from authgate.server.admin.access import Guard
    from authgate.server.admin.status import GateStatus, Readiness

ADMIN_LIMITS: Final = ConnectionLimits(
    max_header_bytes=8192,
    max_headers=64,
    header_timeout=5.0,
    keepalive_timeout=75.0,
    max_connections=64,
    makes_room=True,  # idle connections must not block a probe
)
_ALLOWED: Final = 200
_GRACE = 1.0
_RENDER_EVERY: Final = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Renderer(Protocol):
    """A source of metrics in Prometheus' text format."""

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        ...


class AdminHandler:
    """Answer probes, metrics and status, and show the page.

    `guard` decides all requests except those of probes; only the details of a probe need its consent. `status` returns
    None if there is no page, and the latest decisions only if its argument is True. `documents` returns, by path, the
    documents with which others verify the gate's own tokens. Metrics and the page are rendered at most once a second,
    however many clients request them.
    """

    def __init__(
        self,
        metrics: Renderer,
        *,
        readiness: Callable[[], Readiness],
        status: Callable[[bool], Awaitable[GateStatus | None]],
        guard: Guard,
        documents: Callable[[], Mapping[str, bytes]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._guard = guard
        self._readiness = readiness
        self._status = status
        self._documents = documents
        self._monotonic = monotonic
        self._rendered = b""
        self._rendered_at = -math.inf
        self._rendering: SingleFlight[bool, str | None] = SingleFlight()
        self._pages: dict[bool, tuple[float, str | None]] = {}

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the answer to one request."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405: Method Not Allowed", headers={"Allow": "GET, HEAD"})
        path = request.path
        if path in ("/livez", "/healthz"):
            return web.Response(text="ok")
        if path == "/readyz":
            return await self._ready(request)
        admission = await self._admission(request)
        if admission.status != _ALLOWED:
            return web.Response(
                status=admission.status, text=admission.text, headers=CIMultiDict(admission.headers)
            )
        if path != request.raw_path.partition("?")[0]:
            path = ""  # the policy could have read an escaped path differently
        named = admission.named
        match path:
            case "/status":
                return self._checks()
            case "/":
                return _page(await self._page(named=named))
            case "/reasons":
                return _page(reasons_page() if await self._page(named=named) else None)
            case "/metrics":
                return web.Response(body=self._render(), headers={"Content-Type": _METRICS_TYPE})
            case _:
                found = signed_document(self._documents(), path)
                return found or web.Response(status=404, text="404: Not Found")

    async def _ready(self, request: web.BaseRequest) -> web.Response:
        """Return whether the gate is ready. Only the reasons need a token: probes have none."""
        state = self._readiness()
        verbose = "verbose" in request.query
        status = 200 if state.ready else 503
        if self._guard.policy is None:
            return web.Response(text=_report(state, verbose=verbose), status=status)
        if verbose and (await self._admission(request)).status == _ALLOWED:
            return web.Response(text=_report(state, verbose=True), status=status)
        return web.Response(text="ok" if state.ready else "readyz check failed\n", status=status)

    async def _admission(self, request: web.BaseRequest) -> Admission:
        if self._guard.policy is None:
            # Identities are kept only on loopback then. A page of another site could reach it by a name of its own.
            return Admission(status=_ALLOWED, named=_names_loopback(request.headers.get("Host", "")))
        return await self._guard.admit(AdminRequest.of(request))

    def _checks(self) -> web.Response:
        state = self._readiness()
        checks = [{"name": check.name, "good": check.good, "detail": check.detail} for check in state.checks]
        return web.json_response({"version": __version__, "ready": state.ready, "checks": checks})

    async def _page(self, *, named: bool) -> str | None:
        """Return the page, with identities if `named`, or None if it is off."""
        at, page = self._pages.get(named, (-math.inf, None))
        if self._monotonic() - at < _RENDER_EVERY:
            return page

        async def render() -> str | None:
            status = await self._status(named)
            page = None if status is None else status_page(status)
            self._pages[named] = self._monotonic(), page
            return page

        return await self._rendering.do(named, render)

    def _render(self) -> bytes:
        now = self._monotonic()
        if now - self._rendered_at >= _RENDER_EVERY:
            self._rendered, self._rendered_at = self._metrics.render(), now
        return self._rendered


def admin_runner(
    renderer: Renderer,
    *,
    readiness: Callable[[], Readiness],
    status: Callable[[bool], Awaitable[GateStatus | None]],
    guard: Guard,
    documents: Callable[[], Mapping[str, bytes]],
    metrics: Metrics,
) -> web.ServerRunner:
    """Return the admin port's server, ready to be opened on an address. Its own errors are counted in `metrics`."""
    handler = AdminHandler(renderer, readiness=readiness, status=status, guard=guard, documents=documents)
    return runner_of(GateServer(handler, ADMIN_LIMITS, metrics), _GRACE)


def _page(text: str | None) -> web.Response:
    if text is None:
        return web.Response(status=404, text="404: Not Found")
    return web.Response(text=text, content_type="text/html", headers=HEADERS)


def _names_loopback(host: str) -> bool:
    name = plain_host(host)
    return name is not None and is_loopback(name.strip("[]"))


def _report(state: Readiness, *, verbose: bool) -> str:
    """Return the checks in kube-apiserver's format: `[+]name ok`, `[-]name failed: why`."""
    if state.ready and not verbose:
        return "ok"
    lines = [
        f"[+]{check.name} ok: {check.detail}" if check.good else f"[-]{check.name} failed: {check.detail}"
        for check in state.checks
    ]
    lines.append("readyz check passed" if state.ready else "readyz check failed")
    return "\n".join(lines) + "\n"
