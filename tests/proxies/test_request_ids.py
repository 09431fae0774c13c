"""The request id: one id for the client, the proxy's log, the gate and the app, and never the client's own."""

from __future__ import annotations

import re
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.proxies.site import HEALTH
from tests.support.wire import head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.proxies.conftest import Note
    from tests.proxies.site import Site
    from tests.support.wire import Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")

DENIED = pytest.mark.row("a denial shows the request id, which the proxy and authgate log")
ALLOWED = pytest.mark.row("the app gets the request id, which the proxy logs")
OWN = pytest.mark.row("a client's `X-Request-Id` is replaced everywhere")
LIE = "1f2e3d4c5b6a79880a1b2c3d4e5f6071"
"""A well-formed id that a client sends."""
SECRET = "s3cr3t-of-the-query"
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def id_of(reply: Reply) -> str:
    """Return the id in the header of a response."""
    found = reply.value("X-Request-Id")
    assert _ID.fullmatch(found), found
    return found


def asked(site: Site) -> list[str]:
    """Return the request ids that the proxy has sent to the gate over HTTP."""
    sent = re.findall(rb"(?i)\r\nx-request-id: *([^\r]*)", bytes(site.gate.received))
    return [value.decode() for value in sent]


@asynccontextmanager
async def generating(site: Site, status: str) -> AsyncIterator[None]:
    """Let a gate answer that generates the id, if the proxy does not."""
    if not site.program.gates_request_id:
        yield
        return
    answer = [f"HTTP/1.1 {status}", f"X-Request-Id: {secrets.token_hex(16)}", "X-Auth-Request-User: corp:ada"]
    async with site.gate.failing(head(*answer, "Cache-Control: no-store", "Content-Length: 0")):
        yield


@DENIED
async def test_a_denial_is_found_by_its_id(site: Site) -> None:
    """One line of the proxy's log has the client's id, which is also the one that the gate gets."""
    async with generating(site, "403 Forbidden"):
        reply = await site.ask(f"GET /a?q={SECRET} HTTP/1.1", token=site.token("mallory"))
    assert reply.status == 403
    line = await site.logged(id_of(reply))
    assert "403" in line
    if site.program.gates_request_id:
        assert asked(site) == []
        return
    assert SECRET not in line
    if not site.program.snippet.grpc:
        assert asked(site) == [id_of(reply)]


@DENIED
async def test_each_request_has_its_own_id(site: Site) -> None:
    """Also those on one connection to the gate."""
    if site.program.gates_request_id:
        pytest.skip("not applicable: the gate generates the ids")
    replies = [await site.ask("GET / HTTP/1.1") for _ in range(5)]
    assert len({id_of(reply) for reply in replies}) == 5


@ALLOWED
async def test_the_app_gets_the_id_of_the_log(site: Site, note: Note) -> None:
    """Also on a path that the proxy opens without the gate."""
    async with generating(site, "200 OK"):
        reply = await site.ask(f"GET /a?q={SECRET} HTTP/1.1", f"X-Request-Id: {LIE}", token=site.token())
    assert (reply.status, reply.values("X-Request-Id")) == (200, [])
    if site.options.open_paths:
        assert (await site.ask(f"GET {HEALTH} HTTP/1.1", f"X-Request-Id: {LIE}")).status == 200
    for seen in site.app.seen:
        [request_id] = seen.values("X-Request-Id")
        assert _ID.fullmatch(request_id)
        if site.program.logs_denied_ids_only:
            note("yes, but only those of denials are logged")
            continue
        assert "200" in await site.logged(request_id)


@OWN
@pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id", "X_Request_Id"])
async def test_a_clients_id_is_not_used(site: Site, name: str) -> None:
    """It is neither logged nor sent on, so that nobody can give a request the id of another one."""
    lies, denied, allowed = [f"{name}: {LIE}"] * 2, f"/{secrets.token_hex(8)}", f"/{secrets.token_hex(8)}"
    replies = [await site.ask(f"GET {denied} HTTP/1.1", *lies)]
    replies.append(await site.ask(f"GET {allowed} HTTP/1.1", *lies, token=site.token()))
    assert [reply.status for reply in replies] == [401, 200]
    assert LIE not in str(replies)
    assert LIE.encode() not in bytes(site.gate.received + site.way.received)
    for path in (denied, allowed):
        assert LIE not in await site.logged(path)
