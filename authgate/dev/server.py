"""A real HTTP server on loopback for the embedded API."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from aiohttp import web

from authgate.dev.tls import ServerCertificate

_MAX_HEADER: Final = 65_536
_STOP_AFTER: Final = 0.05


class Site(Protocol):
    """Answers requests for some paths."""

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the response, or None if the path belongs to another site."""
        ...


class EmbeddedServer:
    """Serve several sites on one port: the first site that responds wins, and 404 if none does.

    Stopping drops all requests in progress. A server that is started again keeps its port.
    """

    def __init__(
        self,
        *sites: Site,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: ServerCertificate | None = None,
    ) -> None:
        self.certificate = certificate
        self._sites = list(sites)
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL without a trailing slash; RuntimeError before the first start with port 0."""
        if not self._port:
            raise RuntimeError("the server has no port yet: start it first, or choose one")
        scheme = "http" if self.certificate is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._port}"

    async def start(self) -> None:
        """Listen; do nothing if the server is running. Raises OSError if the port is in use."""
        if self._runner is not None:
            return
        server = web.Server(
            self.respond,
            handler_cancellation=True,
            access_log=None,
            max_field_size=_MAX_HEADER,
            max_line_size=_MAX_HEADER,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_AFTER)
        await runner.setup()
        context = self.certificate.server_context() if self.certificate else None
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=context).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection; do nothing if the server is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response of the first site that has one."""
        for site in self._sites:
            if (answer := await site.respond(request)) is not None:
                return answer
        return web.Response(status=404, text="404 page not found\n")
