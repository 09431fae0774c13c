"""A real nginx on a high port, the configuration that deploy/proxies gives users, and an app to protect."""

import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from authgate.tools.snippets import SNIPPETS, Listen, Options, rendered
from authgate.tools.snippets.options import parse_app, parse_gate
from tests.support.process import ChildProcess, accepts, free_port
from tests.support.tools import require_tool

_MAIN = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/http.conf;
}}
"""


def protected_app(*, listen: int, gate: str, app: str) -> str:
    """Return the users' configuration, as in deploy/proxies, for these addresses. It belongs into the http block.

    `gate` is "127.0.0.1:8080" or "unix:/path".
    """
    options = Options(
        gate=parse_gate(gate if gate.startswith("unix:") else f"http://{gate}"),
        app=parse_app(f"http://{app}"),
        listen=Listen("127.0.0.1", listen),
        complete=True,
    )
    return rendered(SNIPPETS["nginx"], options)[0].text


class Nginx:
    """Run nginx with `configuration` in its http block. It must listen on `port` of loopback.

    All its files are in `folder`. It runs as the user of the tests.
    """

    def __init__(self, folder: Path, configuration: str, *, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "http.conf").write_text(configuration)
        # As root, nginx would run its workers as a user who cannot read the test's folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._access_log = folder / "access.log"
        command: list[str | Path] = [require_tool("nginx", "the way through a real proxy is what is tested")]
        command += ["-p", folder, "-c", folder / "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
        # If the tests are killed, nginx gets SIGTERM, so that its master also ends the workers.
        self._process = ChildProcess(
            command, log=folder / "error.log", ready=self._listening, death_signal=signal.SIGTERM
        )

    async def __aenter__(self) -> Self:
        await self._process.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._process.stop()

    def logs(self) -> str:
        """Return its error log and its access log so far."""
        access = self._access_log.read_text(errors="replace") if self._access_log.exists() else ""
        return self._process.output() + access

    async def _listening(self) -> bool:
        return await accepts(self._port)


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as the app behind the proxy received it.

    Bytes are decoded as UTF-8. Invalid ones become lone surrogates (`surrogateescape`), so no byte is lost.
    """

    method: str
    path: str
    """The path as on the request line, without the query."""
    query: str
    headers: tuple[tuple[str, str], ...]
    """Names and values in their original order and spelling, including repeated ones."""
    body: str

    @classmethod
    def of_answer(cls, document: Mapping[str, object]) -> Self:
        """Return the request that a JSON response of the app describes."""
        headers = document["headers"]
        assert isinstance(headers, list)
        return cls(
            method=str(document["method"]),
            path=str(document["path"]),
            query=str(document["query"]),
            headers=tuple((name, value) for name, value in headers),
            body=str(document["body"]),
        )

    def values(self, name: str) -> list[str]:
        """Return all values of the headers with this name, ignoring case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class EchoApp:
    """An app that answers every request with 200 and a JSON description of the request, and records it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.seen: list[SeenRequest] = []
        # With large limits and without decoding, so that only the proxy and the gate limit or change requests.
        server = web.Server(self._answer, max_line_size=131072, max_field_size=131072, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path, _, query = request.raw_path.partition("?")
        seen = SeenRequest(
            method=request.method,
            path=path,
            query=query,
            headers=tuple((_text(name), _text(value)) for name, value in request.raw_headers),
            body=_text(await request.read()),
        )
        self.seen.append(seen)
        return web.json_response(asdict(seen))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
