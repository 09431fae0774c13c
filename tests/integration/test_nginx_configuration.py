"""Behaviour of authgate that only nginx shows. The behaviour of all proxies is tested in tests/proxies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import pytest
from aiohttp import web

from authgate.tools.snippets import SNIPPETS, Options, rendered
from authgate.tools.snippets.options import parse_gate
from tests.support.nginx import EchoApp, Nginx, SeenRequest, protected_app
from tests.support.process import free_port, until

CHALLENGE = 'Bearer realm="authgate", error="invalid_token"'


@dataclass
class ScriptedGate:
    """A gate with one response for all requests. It records the requests."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[SeenRequest] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    port: int = field(default_factory=free_port)

    async def __aenter__(self) -> Self:
        server = web.Server(self._answer, max_line_size=131072, max_field_size=131072)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def drop_connections(self) -> None:
        """Close all connections and continue to serve, as a gate does with idle connections."""
        await self._runner.cleanup()
        await self.__aenter__()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path, _, query = request.raw_path.partition("?")
        headers = tuple((name.decode(), value.decode()) for name, value in request.raw_headers)
        self.asked.append(SeenRequest(request.method, path, query, headers, (await request.read()).decode()))
        self.connections.add(request.transport.get_extra_info("peername") if request.transport else None)
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def gate() -> AsyncIterator[ScriptedGate]:
    """A gate that allows every request unless a test changes its answer."""
    async with ScriptedGate() as running:
        yield running


@pytest.fixture
async def app() -> AsyncIterator[EchoApp]:
    """The app behind nginx."""
    async with EchoApp() as running:
        yield running


@pytest.fixture
async def nginx(gate: ScriptedGate, app: EchoApp, tmp_path: Path) -> AsyncIterator[Nginx]:
    """nginx with the users' configuration."""
    port = free_port()
    text = protected_app(listen=port, gate=f"127.0.0.1:{gate.port}", app=app.address)
    async with Nginx(tmp_path / "nginx", text, port=port) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """The client in front of nginx."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_body_is_sent_only_to_the_app(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession, *, chunked: bool
) -> None:
    """authgate receives method and address without the body. The app receives the body."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    body = pieces() if chunked else b"hello"
    async with client.put(nginx.url + "/a%2Fb/../c?x=1&y=%20", data=body) as answer:
        assert answer.status == 200
    assert app.seen[0].body == "hello"
    asked = gate.asked[0]
    assert (asked.body, asked.values("content-length"), asked.values("transfer-encoding")) == ("", [], [])
    assert asked.values("x-original-method") == ["PUT"]
    assert asked.values("x-original-uri") == [app.seen[0].path + "?" + app.seen[0].query]
    assert (asked.method, asked.path) == ("GET", "/verify")


async def test_an_error_of_the_app_is_not_changed(
    app: EchoApp, nginx: Nginx, gate: ScriptedGate, client: aiohttp.ClientSession
) -> None:
    """If the app is down, nginx answers 502, and authgate does not answer 503."""
    await app._runner.cleanup()
    async with client.get(nginx.url) as answer:
        assert answer.status == 502
        assert "X-Auth-Reason" not in answer.headers


async def test_the_gates_connection_is_kept(
    gate: ScriptedGate, nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    """Twenty requests, denied and allowed, need one connection to the gate."""
    for number in range(20):
        gate.status = (200, 401, 403, 503)[number % 4]
        async with client.get(nginx.url) as answer:
            assert answer.status == gate.status
    assert len(gate.connections) == 1


@pytest.mark.parametrize("status", [200, 403])
async def test_a_closed_connection_is_replaced(
    gate: ScriptedGate, nginx: Nginx, client: aiohttp.ClientSession, status: int
) -> None:
    """No request fails because the gate closed an idle connection."""
    gate.headers = {"WWW-Authenticate": CHALLENGE}
    gate.status = status
    for _ in range(2):
        async with client.get(nginx.url) as answer:
            assert answer.status == status
            assert len(answer.headers.getall("WWW-Authenticate", [])) == (status == 403)
        await gate.drop_connections()


async def test_the_gates_location_is_internal(nginx: Nginx, client: aiohttp.ClientSession) -> None:
    """A client cannot send requests to the gate through nginx."""
    async with client.get(nginx.url + "/_authgate") as answer:
        assert answer.status == 404


async def logs(nginx: Nginx, text: str) -> None:
    """Wait until nginx has logged this text."""

    async def written() -> bool:
        return text in nginx.logs()

    await until(written, within=30, otherwise=nginx.logs)


async def test_the_snippets_protect_every_location(
    gate: ScriptedGate, app: EchoApp, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """In a user's own configuration, a location is protected if its server includes the snippet.

    A location that sets headers itself also removes the client's, if it includes authgate-protect.conf.
    """
    port = free_port()
    folder = tmp_path / "nginx"
    folder.mkdir()
    for file in rendered(SNIPPETS["nginx"], Options(gate=parse_gate(f"http://127.0.0.1:{gate.port}"))):
        (folder / file.name).write_text(file.text.replace("/var/log/nginx", str(folder)))
    own = f"""
        include authgate-http.conf;
        server {{
            listen 127.0.0.1:{port};
            include authgate-server.conf;
            location / {{ proxy_pass http://{app.address}; }}
            location /own {{
                include authgate-protect.conf;
                proxy_set_header X-Own yes;
                proxy_pass http://{app.address};
            }}
        }}"""
    gate.headers = {"X-Auth-Request-User": "alice"}
    async with Nginx(folder, own, port=port) as nginx:
        for path in ("/", "/own"):
            async with client.get(nginx.url + path, headers={"X-Auth-Request-User": "mallory"}) as answer:
                assert answer.status == 200
        gate.status = 401
        for path in ("/", "/own"):
            async with client.get(nginx.url + path) as answer:
                assert answer.status == 401
                await logs(nginx, answer.headers["X-Request-Id"])
    assert [seen.values("X-Auth-Request-User") for seen in app.seen] == [["alice"], ["alice"]]
    assert app.seen[1].values("X-Own") == ["yes"]
