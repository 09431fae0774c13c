"""The request id: one id for the client, the proxy's log, the gate and the app, and never the client's own."""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from authgate.observability.log import AUDIT
from tests.proxies.programs import PROGRAMS
from tests.proxies.relay import Fault
from tests.proxies.site import HEALTH, protected
from tests.proxies.table import PAGE
from tests.support.wire import bearer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program
    from tests.proxies.site import Site
    from tests.support.wire import Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")

DENIED = pytest.mark.row("a denial shows the request id, which the proxy and authgate log")
ALLOWED = pytest.mark.row("the app gets the request id, which the proxy logs")
OWN = pytest.mark.row("a client's `X-Request-Id` is replaced everywhere")
KEEPING = {
    "nginx": (r"\$request_id\b", "$http_x_request_id"),
    "envoy": (r"early_header_mutation_extensions:[^]]*\]", "preserve_external_request_id: true"),
    "haproxy": (r"unique-id-format .*", "unique-id-format %[req.hdr(x-request-id)]"),
}
"""What docs/proxies.md says about a proxy that only a load balancer reaches: the text, and what replaces it."""
LIE = "1f2e3d4c5b6a79880a1b2c3d4e5f6071"
"""A well-formed id that a client sends."""
FACTS = {
    "authgate.reason": "",
    "client.address": "127.0.0.1",
    "http.request.method": "GET",
    "server.address": "app.example.com",
    "url.path": "/a",
}
"""What the gate's audit line shows of a request, whichever proxy sends it."""
TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
SECRET = "s3cr3t-of-the-query"
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def id_of(reply: Reply) -> str:
    """Return the id in the header of a response."""
    found = reply.value("X-Request-Id")
    assert _ID.fullmatch(found), found
    return found


def audited(caplog: pytest.LogCaptureFixture, request_id: str) -> list[dict[str, Any]]:
    """Return the gate's audit records with this request id."""
    records = [vars(record) for record in caplog.records if record.name == AUDIT]
    return [found for found in records if found["attributes"].get("http.request.id") == request_id]


@DENIED
async def test_a_denial_is_found_by_its_id(
    program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy's log and the gate's audit log have one line each with the client's id, and each request its own id.

    The audit line has the trace, too: that of the client, because no proxy records spans here. The gate is new, because
    the audit log limits the lines of one reason.
    """
    caplog.set_level(logging.INFO, AUDIT)
    seen = set()
    async with protected(program, tmp_path / "proxy") as site:
        requests = {
            "no_credential": None,
            "denied": site.token("mallory"),
            "token_expired": site.token(exp=1),
        }
        for reason, token in requests.items():
            reply = await site.ask(f"GET /a?q={SECRET} HTTP/1.1", TRACE, token=token)
            assert reply.reason == reason
            line = await site.logged(id_of(reply))
            assert (str(reply.status) in line, SECRET in line) == (True, program.logs_queries)
            [record] = audited(caplog, id_of(reply))
            facts = record["attributes"]
            assert {name: facts.get(name) for name in FACTS} == {**FACTS, "authgate.reason": reason}
            assert record["trace"].trace_id in TRACE
            seen.add(id_of(reply))
    assert len(seen) == len(requests)


@ALLOWED
async def test_the_app_gets_the_id_of_the_log(site: Site, note: Note) -> None:
    """Also on a path that the proxy opens without the gate."""
    reply = await site.ask("GET /a HTTP/1.1", f"X-Request-Id: {LIE}", token=site.token())
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


@pytest.mark.row("no token or cookie is in the proxy's logs, even if authgate or the app fails")
async def test_no_token_is_logged(program: Program, tmp_path: Path) -> None:
    """Neither in the access log nor in errors, wherever the client sends the token."""
    name, cookie = "Cf-Access-Jwt-Assertion", "c00kie-of-the-client"
    more = {"credential": {"sources": [{"header": name}]}}
    async with protected(program, tmp_path / "proxy", token_header=name, more=more) as site:
        token, last = site.token(), f"/{secrets.token_hex(8)}"
        for line in (f"{name}: {token}", bearer(token)):
            lines = (line, f"Cookie: session={cookie}")
            assert (await site.ask("GET / HTTP/1.1", *lines)).status == 200
            for fault in (Fault.DOWN, b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"):
                async with site.gate.failing(fault):
                    assert (await site.ask("GET / HTTP/1.1", *lines)).status == 503
            async with site.way.failing(Fault.DOWN):
                assert (await site.ask("GET / HTTP/1.1", *lines)).status in {502, 503}
        await site.ask(f"GET {last} HTTP/1.1")
        await site.logged(last)
        output = site.process.output()
    assert [text for text in (*token.split("."), cookie) if text in output] == []


@pytest.mark.parametrize("name", KEEPING)
async def test_the_id_of_a_load_balancer_can_be_kept(tmp_path: Path, name: str) -> None:
    """Everything then has the id of the load balancer."""
    pattern, new = KEEPING[name]
    assert f"`{new}`" in PAGE.read_text()
    program = replace(PROGRAMS[name], change=lambda text: re.sub(pattern, new, text))
    async with protected(program, tmp_path / "proxy") as site:
        reply = await site.ask("GET /a HTTP/1.1", f"X-Request-Id: {LIE}")
        assert (reply.status, id_of(reply)) == (401, LIE)
        await site.logged(LIE)
        assert f"{LIE}\r\n".encode() in bytes(site.gate.received)
        seen = await site.passes("GET /b HTTP/1.1", f"X-Request-Id: {LIE}")
        assert seen.values("X-Request-Id") == [LIE]
