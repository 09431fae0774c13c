"""Servers on real sockets that replace an API server and fail on request, with HTTP or TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from types import TracebackType

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; `connection` is equal for requests on the same connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class FakeAPI:
    """Run a server that calls `answer` for every request and records the requests."""

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self._tls = tls
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """The URL without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        target = request.raw_path
        headers = dict(request.headers)
        self.received.append(Received(request.method, target, headers, body, id(request.transport)))
        return await self.answer(request)


class RawServer:
    """Run `script` for every connection. It can write any bytes. `connections` counts connections."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client may disconnect
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with a Content-Length from a raw connection; return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    return await reader.readexactly(length)


def always(
    body: bytes | str | dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    """Return a handler that always sends this response."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    data = content.encode() if isinstance(content, str) else content

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=data, status=status, headers=headers)

    return answer


def status_object(message: str) -> dict[str, Any]:
    """Return a Kubernetes `Status`, the body of an error response."""
    return {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message}


def review(**status: Any) -> dict[str, Any]:
    """Return a TokenReview with this status."""
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


ALICE = review(authenticated=True, user={"username": "alice", "groups": ["staff"]}, audiences=["app"])
"""A TokenReview that authenticates alice for the audience app."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """A kubeconfig file with one context. `cluster` and `user` add members to its entries."""

    server: str
    cluster: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> str:
        """Write the file; return its path."""
        document = {
            "clusters": [{"name": "c", "cluster": {"server": self.server, **self.cluster}}],
            "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(document))  # JSON is YAML
        return str(path)
