"""The admin port: metrics, probes and the state of every verifier; never on the verify port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from authgate import __version__
from authgate.server.exchange import signed_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GRACE = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness: its name, whether it holds, and why not in words for operators."""

    name: str
    good: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the gate can decide requests, and the checks behind it; verifiers may be down one by one."""

    ready: bool
    checks: tuple[Check, ...]


class Rendered(Protocol):
    """Figures that Prometheus can read."""

    def render(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        ...


def admin_runner(
    metrics: Rendered,
    readiness: Callable[[], Readiness],
    documents: Callable[[], Mapping[str, bytes]] = dict,
) -> web.AppRunner:
    """Return the admin port's server, to be opened on its address.

    `documents` are those by which others verify the gate's own tokens, by path.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(request: web.Request) -> web.Response:
        state = readiness()
        return web.Response(
            text=_report(state, verbose="verbose" in request.query), status=200 if state.ready else 503
        )

    async def status(_: web.Request) -> web.Response:
        state = readiness()
        checks = [{"name": check.name, "good": check.good, "detail": check.detail} for check in state.checks]
        return web.json_response({"version": __version__, "ready": state.ready, "checks": checks})

    async def render_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": _METRICS_TYPE})

    async def document(request: web.Request) -> web.Response:
        found = signed_document(documents(), request.path)
        if found is None:
            raise web.HTTPNotFound
        return found

    application = web.Application(client_max_size=1024)
    application.add_routes(
        [
            web.get("/livez", livez),
            web.get("/healthz", livez),
            web.get("/readyz", readyz),
            web.get("/status", status),
            web.get("/metrics", render_metrics),
            web.get("/{path:.*}", document),
        ]
    )
    return web.AppRunner(application, access_log=None, shutdown_timeout=_GRACE)


def _report(state: Readiness, *, verbose: bool) -> str:
    """Return a report in the kube-apiserver's form: `[+]name ok`, `[-]name failed: why`."""
    if state.ready and not verbose:
        return "ok"
    lines = [
        f"[+]{check.name} ok: {check.detail}" if check.good else f"[-]{check.name} failed: {check.detail}"
        for check in state.checks
    ]
    lines.append("readyz check passed" if state.ready else "readyz check failed")
    return "\n".join(lines) + "\n"
