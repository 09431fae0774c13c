"""A real HTTP server for the issuers and the kube API, on loopback, that counts what it is asked."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from aiohttp import web

from authgate.dev.faults import Faults
from authgate.dev.tls import ServerCertificate

_MAX_HEADER: Final = 65_536
_STOP_AFTER: Final = 0.05
_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class Site(Protocol):
    """What answers for some paths."""

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """The answer, or None where the path is not this site's."""
        ...


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it arrived: header names in lower case, credentials and the body left out."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class EmbeddedServer:
    """Serves its sites, the first that answers; a path of none of them gets 404.

    `counts` counts requests by path as they arrive, those that get a fault included. `requests` remembers the last
    thousand. Stopping drops whatever is in progress; a server that is started again keeps its port.
    """

    def __init__(
        self,
        *sites: Site,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: ServerCertificate | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.requests: deque[RequestRecord] = deque(maxlen=1000)
        self.faults = Faults()
        self.certificate = certificate
        self._sites = list(sites)
        self._host = host
        self._port = port
        self._arrival = asyncio.Condition()
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
            raise RuntimeError("the server has no port yet: start it first, or give it one")
        scheme = "http" if self.certificate is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it listens now."""
        return self._runner is not None

    def add(self, site: Site) -> None:
        """Serves another site, after those there are."""
        self._sites.append(site)

    async def start(self) -> None:
        """Listens; OSError where the port is taken. Starting a server that runs does nothing."""
        if self._runner is not None:
            return
        context: ssl.SSLContext | None = self.certificate.server_context() if self.certificate else None
        server = web.Server(
            self._respond,
            handler_cancellation=True,  # a client that left needs no flood
            access_log=None,
            max_field_size=_MAX_HEADER,
            max_line_size=_MAX_HEADER,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_AFTER)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=context).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes the port and every connection; stopping a server that does not run does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def arrived(self, path: str, count: int = 1) -> None:
        """Waits until so many requests for the path have arrived since the server was made."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.counts[path] >= count)

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(_record(request))
        async with self._arrival:
            self.counts[request.path] += 1
            self._arrival.notify_all()
        if (wrong := await self.faults.respond(request)) is not None:
            return wrong
        for site in self._sites:
            if (answer := await site.respond(request)) is not None:
                return answer
        return web.Response(status=404, text="404 page not found\n")


def _record(request: web.BaseRequest) -> RequestRecord:
    shown = {name.lower(): value for name, value in request.headers.items()}
    return RequestRecord(
        request.method,
        request.path,
        request.query_string,
        {name: value for name, value in shown.items() if name not in _SECRET_HEADERS},
    )
