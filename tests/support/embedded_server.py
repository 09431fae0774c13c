"""The embedded server of `authgate dev`, with what tests add: faults, and a record of the requests."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from authgate.dev.server import EmbeddedServer as PlainServer
from authgate.dev.server import Site
from authgate.dev.tls import ServerCertificate
from tests.support.faults import Faults

_SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it arrived: header names in lower case, without credentials and body."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class EmbeddedServer(PlainServer):
    """Serve sites, fail on request, and count requests.

    `counts` counts requests by path as they arrive, including those that get a fault. `requests` keeps the last
    thousand.
    """

    def __init__(
        self,
        *sites: Site,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: ServerCertificate | None = None,
    ) -> None:
        super().__init__(*sites, host=host, port=port, certificate=certificate)
        self.counts: Counter[str] = Counter()
        self.requests: deque[RequestRecord] = deque(maxlen=1000)
        self.faults = Faults()
        self._arrival = asyncio.Condition()

    @property
    def running(self) -> bool:
        """Whether the server accepts connections."""
        return self._runner is not None

    def add(self, site: Site) -> None:
        """Serve another site. Earlier sites have precedence."""
        self._sites.append(site)

    async def arrived(self, path: str, count: int = 1) -> None:
        """Wait until `count` requests for a path have arrived since the server was created."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: self.counts[path] >= count)

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record the request, then return the fault set for its path or the response of a site."""
        self.requests.append(_record(request))
        async with self._arrival:
            self.counts[request.path] += 1
            self._arrival.notify_all()
        if (wrong := await self.faults.respond(request)) is not None:
            return wrong
        return await super().respond(request)


def _record(request: web.BaseRequest) -> RequestRecord:
    shown = {name.lower(): value for name, value in request.headers.items()}
    return RequestRecord(
        request.method,
        request.path,
        request.query_string,
        {name: value for name, value in shown.items() if name not in _SECRET_HEADERS},
    )
