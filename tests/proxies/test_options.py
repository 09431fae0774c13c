"""The effects of a snippet's options. Each test runs its own proxy."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import grpc
import pytest

from authgate.tools.snippets import Options, Upstream, rendered
from authgate.vocabulary import Preset
from tests.proxies.site import certified, protected
from tests.support.process import free_port
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program

pytestmark = pytest.mark.asyncio(loop_scope="session")


def refused(program: Program, options: Options, note: Note) -> bool:
    """Whether the snippet rejects these options, which the table shows."""
    if program.snippet.refusal(options) is None:
        return False
    with pytest.raises(ValueError, match=r"\w+"):
        rendered(program.snippet, options)
    note("not supported")
    return True


@pytest.mark.row("`--preset kubernetes`")
async def test_preset_kubernetes(program: Program, tmp_path: Path, note: Note) -> None:
    """Every group has its own header, and the client's headers are removed."""
    if refused(program, Options(preset="kubernetes"), note):
        return
    async with protected(program, tmp_path / "proxy", preset="kubernetes") as site:
        token = site.token(groups=["dev", "ops"])
        lines = ["X-Remote-Group: system:masters", "x-remote-group: admin", "X_Remote_Group: admin"]
        more = ["X-Remote-Extra-Scopes: all", "X-Auth-Request-User: mallory", "X-Remote-User: mallory"]
        seen = await site.passes("GET / HTTP/1.1", *lines, *more, token=token)
    assert seen.values("X-Remote-User") == ["corp:ada"]
    groups = ",".join(seen.values("X-Remote-Group")).split(",")
    assert [group.strip() for group in groups] == ["dev", "ops", "system:authenticated"]
    assert not {"system:masters", "admin", "all", "mallory"} & {value for _, value in seen.headers}


@pytest.mark.row("`--preset remote`")
async def test_preset_remote(program: Program, tmp_path: Path, note: Note) -> None:
    """The headers of another preset are set, and those of the other presets are still removed."""
    preset: Preset = "remote"
    if refused(program, Options(preset=preset), note):
        return
    async with protected(program, tmp_path / "proxy", preset=preset) as site:
        lines = ["Remote-User: mallory", "X-Auth-Request-User: mallory", "X-Remote-User: mallory"]
        seen = await site.passes("GET / HTTP/1.1", *lines, token=site.token(groups=["dev"]))
    assert seen.values("Remote-User") == ["corp:ada"]
    assert seen.values("Remote-Groups") == ["dev,system:authenticated"]
    assert "mallory" not in str(seen)


@pytest.mark.row("`--header`")
async def test_further_headers(program: Program, tmp_path: Path) -> None:
    """The app gets a header of `headers.set` from the gate, and never from a client."""
    more = {"headers": {"set": [{"name": "X-Department", "claim": "/department"}]}}
    async with protected(program, tmp_path / "proxy", headers=("X-Department",), more=more) as site:
        lies = ["X-Department: board", "x-department: board", "X_Department: board"]
        seen = await site.passes("GET / HTTP/1.1", *lies, token=site.token(department="sales"))
        assert seen.values("X-Department") == ["sales"]
        seen = await site.passes("GET / HTTP/1.1", *lies)
        assert "".join(seen.values("X-Department")) == ""
        assert b"board" not in bytes(site.way.received)


@pytest.mark.row("`--gate unix:…`")
async def test_a_gate_on_a_unix_socket(program: Program, tmp_path: Path, note: Note) -> None:
    """The gate can listen on a socket that only the proxy reaches."""
    socket = tmp_path / "gate.sock"
    if refused(program, Options(gate=Upstream("", 0, str(socket))), note):
        return
    async with protected(program, tmp_path / "proxy", socket=socket) as site:
        seen = await site.passes("GET / HTTP/1.1")
        assert seen.values("X-Auth-Request-User") == ["corp:ada"]
        assert (await site.ask("GET / HTTP/1.1")).status == 401


@pytest.mark.row("`--keep-authorization`")
async def test_the_token_can_be_kept(program: Program, tmp_path: Path) -> None:
    """With --keep-authorization the app gets the token."""
    async with protected(program, tmp_path / "proxy", strip_authorization=False) as site:
        token = site.token()
        seen = await site.passes("GET / HTTP/1.1", token=token)
    assert seen.values("Authorization") == [f"Bearer {token}"]


@pytest.mark.row("`--cookie`")
async def test_a_token_in_a_cookie(program: Program, tmp_path: Path, note: Note) -> None:
    """With --cookie, and a gate that reads that cookie, its token opens the app. The app gets only other cookies."""
    if refused(program, Options(cookie=True), note):
        return
    more = {"credential": {"sources": [{"cookie": "access_token"}]}}
    async with protected(program, tmp_path / "proxy", cookie=True, more=more) as site:
        token = site.token()
        lies = ["X-Auth-Forward-Cookie: role=admin", "X-Auth-Request-User: mallory"]
        reply = await site.ask("GET / HTTP/1.1", f"Cookie: theme=dark; access_token={token}; lang=de", *lies)
        assert (reply.status, len(site.app.seen)) == (200, 1)
        assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]
        assert site.app.seen[0].values("Cookie") == ["theme=dark; lang=de"]
        seen = await site.passes("GET / HTTP/1.1")
        assert "".join(seen.values("Cookie")) == ""
        reply = await site.ask("GET / HTTP/1.1", f"Cookie: access_token={token}", token=token)
        assert (reply.status, reply.reason) == (401, "multiple_credentials")
        assert token.encode() not in bytes(site.way.received)


@pytest.mark.row("`--cookie`")
async def test_the_apps_own_authorization(program: Program, tmp_path: Path, note: Note) -> None:
    """With --keep-authorization, and a gate that ignores Authorization, the app's own credential reaches the app."""
    if refused(program, Options(cookie=True, strip_authorization=False), note):
        return
    more = {"credential": {"authorization": "ignore", "sources": [{"cookie": "access_token"}]}}
    folder = tmp_path / "proxy"
    async with protected(program, folder, cookie=True, strip_authorization=False, more=more) as site:
        token, own = site.token(), "Basic YXBwOnNlY3JldA=="
        reply = await site.ask("GET / HTTP/1.1", f"Authorization: {own}", f"Cookie: access_token={token}")
        assert (reply.status, len(site.app.seen)) == (200, 1)
        assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]
        assert site.app.seen[0].values("Authorization") == [own]
        reply = await site.ask("GET / HTTP/1.1", f"Authorization: Bearer {token}")
        assert (reply.status, reply.reason) == (401, "no_credential")
        assert token.encode() not in bytes(site.way.received)


@pytest.mark.row("`--token-header`")
async def test_a_token_in_another_header(program: Program, tmp_path: Path) -> None:
    """The gate gets that header, and the app gets only its own Authorization."""
    more = {"credential": {"authorization": "ignore", "sources": [{"header": "Cf-Access-Jwt-Assertion"}]}}
    folder, name = tmp_path / "proxy", "Cf-Access-Jwt-Assertion"
    async with protected(program, folder, more=more, token_header=name, strip_authorization=False) as site:
        token, own = site.token(), "Basic YXBwOnNlY3JldA=="
        reply = await site.ask("GET / HTTP/1.1", f"Authorization: {own}", f"cf-access-jwt-assertion: {token}")
        assert (reply.status, len(site.app.seen)) == (200, 1)
        assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]
        assert site.app.seen[0].values("Authorization") == [own]
        reply = await site.ask("GET / HTTP/1.1", *[f"Cf-Access-Jwt-Assertion: {token}"] * 2)
        assert reply.status == 401
        reply = await site.ask("GET / HTTP/1.1", f"Authorization: Bearer {token}")
        assert (reply.status, reply.reason) == (401, "no_credential")
        assert token.encode() not in bytes(site.way.received)


@pytest.mark.row("HTTP/2 clients (`--tls`)")
async def test_an_http2_client(program: Program, tmp_path: Path) -> None:
    """A valid token and a body pass, a missing token is denied, and the client's identity headers are removed."""
    curl = require_tool("curl", "it is the HTTP/2 client")
    folder = tmp_path / "proxy"
    certified(folder)
    async with protected(program, folder, tls=True) as site:

        async def ask(*arguments: str) -> list[str]:
            written = ["-o", str(folder / "body"), "-w", "%{http_version} %{http_code}"]
            command = [str(curl), "-sk", "--http2", *written, *arguments, f"https://{site.address}/upload"]
            running = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            output, _ = await running.communicate()
            return output.decode().split()

        assert await ask() == ["2", "401"]
        assert site.app.seen == []
        headers = ["-H", f"Authorization: Bearer {site.token()}", "-H", "X-Auth-Request-User: mallory"]
        headers += [
            "-H",
            "X-Forwarded-Proto: mallory",
            "-H",
            "X-Forwarded-For: mallory",
            "-H",
            "Forwarded: mallory",
        ]
        assert await ask(*headers, "-H", "X_Auth_Request_User: mallory", "--data", "x" * 50_000) == [
            "2",
            "200",
        ]
        [seen] = site.app.seen
        assert (seen.size, seen.values("X-Auth-Request-User")) == (50_000, ["corp:ada"])
        assert "mallory" not in str(seen)
        assert (seen.values("X-Forwarded-Proto"), seen.values("X-Forwarded-For")) == (
            ["https"],
            ["127.0.0.1"],
        )


@pytest.mark.row("gRPC apps (`--app h2c://…`)")
async def test_a_grpc_app(program: Program, tmp_path: Path, note: Note) -> None:
    """A gRPC call to an app passes with a token. Without one it is denied with a gRPC status."""
    if refused(program, Options(app=Upstream("127.0.0.1", 3000, scheme="h2c")), note):
        return
    port = free_port()

    async def names(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        details = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if key.startswith("x-auth-request-")
        }
        return json.dumps([request.decode(), details]).encode()

    server = grpc.aio.server()
    handlers = {"Names": grpc.unary_unary_rpc_method_handler(names)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        app = Upstream("127.0.0.1", port, scheme="h2c")
        async with (
            protected(program, tmp_path / "proxy", app=app) as site,
            grpc.aio.insecure_channel(site.address) as channel,
        ):
            call = channel.unary_unary("/shop.Shop/Names")
            spoofed = ("x-auth-request-user", "mallory")
            answer = json.loads(
                await call(b"hi", metadata=(("authorization", f"Bearer {site.token()}"), spoofed))
            )
            assert answer[0] == "hi"
            assert answer[1]["x-auth-request-user"] == "corp:ada"
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call(b"hi", metadata=(spoofed,))
            assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        await server.stop(0)
