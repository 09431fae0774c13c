"""What deploy/proxies/nginx.conf does with each answer of a gate, in a real nginx."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import pytest
from aiohttp import web

from tests.support.nginx import EchoApp, Nginx, SeenRequest, protected_app
from tests.support.process import free_port

CHALLENGE = 'Bearer realm="authgate", error="invalid_token"'


@dataclass
class ScriptedGate:
    """A gate that gives one answer to everybody, and remembers what it was asked."""

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
        """Closes the idle connections and goes on, as a gate does that has had enough of them."""
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
    """A gate that lets everybody pass until told otherwise."""
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


async def test_the_app_sees_the_gates_identity(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    """The identity that the gate names reaches the app, the token does not."""
    gate.headers = {"X-Auth-Request-User": "alice", "X-Auth-Request-Groups": "a,b"}
    async with client.get(nginx.url + "/x", headers={"Authorization": "Bearer secret"}) as answer:
        assert answer.status == 200
        assert "X-Auth-Reason" not in answer.headers
        assert "Cache-Control" not in answer.headers
    assert app.seen[0].values("x-auth-request-user") == ["alice"]
    assert app.seen[0].values("x-auth-request-groups") == ["a,b"]
    assert app.seen[0].values("authorization") == []
    assert gate.asked[0].values("authorization") == ["Bearer secret"]


@pytest.mark.parametrize("said", [None, "", "alice"], ids=["nothing", "an empty value", "a value"])
@pytest.mark.parametrize("name", ["X-Auth-Request-User", "x-auth-request-email", "X_Auth_Request_User"])
async def test_a_clients_own_identity_never_reaches_the_app(
    gate: ScriptedGate,
    app: EchoApp,
    nginx: Nginx,
    client: aiohttp.ClientSession,
    name: str,
    said: str | None,
) -> None:
    """What the client calls itself is dropped, whatever the gate says."""
    gate.headers = {} if said is None else {"X-Auth-Request-User": said, "X-Auth-Request-Email": said}
    async with client.get(nginx.url, headers=[(name, "mallory"), (name, "mallory")]) as answer:
        assert answer.status == 200
    assert "mallory" not in str(app.seen[0].headers)
    assert app.seen[0].values("X-Auth-Request-User") == ([said] if said else [])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_body_passes_by_the_gate(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession, *, chunked: bool
) -> None:
    """The gate is asked without the body, and told method and address; the app gets the body."""

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


@pytest.mark.parametrize("status", [401, 403])
async def test_a_denial_reaches_the_client_once(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession, status: int
) -> None:
    """Challenge and reason of a denial come through exactly once, and the app is not asked."""
    gate.status = status
    gate.headers = {"WWW-Authenticate": CHALLENGE, "X-Auth-Reason": "bad"}
    async with client.get(nginx.url) as answer:
        assert answer.status == status
        assert answer.headers.getall("WWW-Authenticate") == [CHALLENGE]
        assert answer.headers.getall("X-Auth-Reason") == ["bad"]
        assert answer.headers.getall("Cache-Control") == ["no-store"]
    assert app.seen == []


async def test_cannot_tell_stays_503(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    """A gate's 503 is a 503 with its Retry-After and reason, not nginx's bare 500."""
    gate.status = 503
    gate.headers = {"Retry-After": "7", "X-Auth-Reason": "review_unavailable"}
    async with client.post(nginx.url, data=b"x" * 100_000) as answer:
        assert answer.status == 503
        assert answer.headers.getall("Retry-After") == ["7"]
        assert answer.headers.getall("X-Auth-Reason") == ["review_unavailable"]
        assert answer.headers.getall("Cache-Control") == ["no-store"]
    assert app.seen == []


async def test_a_dead_gate_opens_nothing(
    app: EchoApp, nginx: Nginx, gate: ScriptedGate, client: aiohttp.ClientSession
) -> None:
    """Without a gate the answer is 503 and a time to try again."""
    await gate._runner.cleanup()
    async with client.get(nginx.url) as answer:
        assert answer.status == 503
        assert answer.headers.getall("Retry-After") == ["5"]
    assert app.seen == []


async def test_the_apps_own_500_is_its_own(
    app: EchoApp, nginx: Nginx, gate: ScriptedGate, client: aiohttp.ClientSession
) -> None:
    """An app that is gone is a 502 of nginx, not a 503 of the gate."""
    await app._runner.cleanup()
    async with client.get(nginx.url) as answer:
        assert answer.status == 502
        assert "X-Auth-Reason" not in answer.headers


async def test_many_groups_and_a_long_token_fit(
    gate: ScriptedGate, app: EchoApp, nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    """20 KB of groups and a 16 KB token pass whole."""
    gate.headers = {"X-Auth-Request-Groups": "g" * 20_000}
    token = "t" * 16_384
    async with client.get(nginx.url, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200
    assert app.seen[0].values("x-auth-request-groups") == ["g" * 20_000]


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
async def test_a_closed_connection_is_tried_again(
    gate: ScriptedGate, nginx: Nginx, client: aiohttp.ClientSession, status: int
) -> None:
    """A connection that the gate closed meanwhile costs no request."""
    gate.headers = {"WWW-Authenticate": CHALLENGE}
    gate.status = status
    for _ in range(2):
        async with client.get(nginx.url) as answer:
            assert answer.status == status
            assert len(answer.headers.getall("WWW-Authenticate", [])) == (status == 403)
        await gate.drop_connections()


async def test_the_gates_location_is_internal(nginx: Nginx, client: aiohttp.ClientSession) -> None:
    """A client cannot ask the gate through nginx."""
    async with client.get(nginx.url + "/_authgate") as answer:
        assert answer.status == 404
