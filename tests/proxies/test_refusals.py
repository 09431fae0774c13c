"""Denied requests: the client gets the reason, and the app gets no request."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from authgate.errors import Reason
from authgate.model import Unavailable
from tests.proxies.relay import Fault
from tests.proxies.site import protected
from tests.support.grpc_gate import answering
from tests.support.verifiers import ScriptedVerifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nX-Auth-Reason: review_unavailable\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
)


@asynccontextmanager
async def unavailable(site: Site) -> AsyncIterator[None]:
    """Make authgate answer 503, in the protocol of the proxy."""
    if not site.program.snippet.grpc:
        async with site.gate.failing(UNAVAILABLE):
            yield
        return
    verdict = Unavailable(Reason.REVIEW_UNAVAILABLE, retry_after=7)
    async with answering(ScriptedVerifier(verdict)) as gate, site.gate.leading_to(gate.address):
        yield


@pytest.mark.row("no token or an invalid token: 401 with the reason")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_a_request_without_a_token_gets_401(site: Site, method: str) -> None:
    """The client gets authgate's challenge and reason, once each."""
    reply = await site.ask(f"{method} / HTTP/1.1")
    assert (reply.status, reply.reason) == (401, "no_credential")
    assert reply.value("WWW-Authenticate") == 'Bearer realm="authgate"'
    assert reply.value("Cache-Control") == "no-store"
    assert site.app.seen == []


@pytest.mark.row("no token or an invalid token: 401 with the reason")
async def test_a_request_with_an_invalid_token_gets_401(site: Site) -> None:
    """The challenge names the problem."""
    reply = await site.ask("GET / HTTP/1.1", token=site.token(exp=1))
    assert (reply.status, reply.reason) == (401, "token_expired")
    assert 'error="invalid_token"' in reply.value("WWW-Authenticate")
    assert site.app.seen == []


@pytest.mark.row("no token or an invalid token: 401 with the reason")
async def test_a_password_source_adds_a_challenge(program: Program, tmp_path: Path) -> None:
    """Both challenges reach the client. A valid password is accepted, and the app does not get it."""
    more = {"credential": {"sources": [{"basic": {"usernames": ["oauth2"]}}]}}
    async with protected(program, tmp_path / "proxy", more=more) as site:
        reply = await site.ask("GET / HTTP/1.1")
        assert reply.value("WWW-Authenticate") == (
            'Basic realm="authgate", charset="UTF-8", Bearer realm="authgate"'
        )
        password = base64.b64encode(f"oauth2:{site.token()}".encode()).decode()
        reply = await site.ask("GET / HTTP/1.1", f"Authorization: Basic {password}")
        assert (reply.status, len(site.app.seen)) == (200, 1)
        assert site.app.seen[0].values("X-Auth-Request-User") == ["corp:ada"]
        assert "".join(site.app.seen[0].values("Authorization")) == ""


@pytest.mark.row("no token or an invalid token: 401 with the reason")
async def test_a_request_with_two_tokens_is_denied(site: Site) -> None:
    """Neither of two Authorization headers is chosen."""
    reply = await site.ask(
        "GET / HTTP/1.1", "Authorization: Bearer other", f"Authorization: Bearer {site.token()}"
    )
    assert reply.status in {400, 401}
    assert site.app.seen == []


@pytest.mark.row("not permitted: 403 with the reason")
async def test_an_identity_that_is_not_allowed_gets_403(site: Site) -> None:
    """The answer has authgate's challenge and reason."""
    reply = await site.ask("GET / HTTP/1.1", token=site.token("mallory"))
    assert (reply.status, reply.reason) == (403, "denied")
    assert 'error="insufficient_scope"' in reply.value("WWW-Authenticate")
    assert site.app.seen == []


@pytest.mark.row("authgate's 503 reaches the client")
async def test_an_unavailable_decision_is_a_503(site: Site, note: Note) -> None:
    """The client gets a time to retry after."""
    async with unavailable(site):
        reply = await site.ask("GET / HTTP/1.1", token=site.token())
    assert reply.status == 503
    assert reply.value("Cache-Control") == "no-store"
    assert site.app.seen == []
    if site.program.constant_503:
        assert reply.value("Retry-After") == "5"
        note("with a constant Retry-After and no reason")
    else:
        assert (reply.value("Retry-After"), reply.reason) == ("7", "review_unavailable")


@pytest.mark.row("authgate is down, hangs, closes the connection or sends an unknown status: 503")
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_a_failing_gate_is_a_503(site: Site, fault: Fault) -> None:
    """The client gets a 503 with a time to retry after, for every fault.

    A gate that hangs never answers here, so the answer shows that the proxy has its own timeout.
    """
    async with site.gate.failing(fault):
        reply = await site.ask("GET / HTTP/1.1", token=site.token())
    assert (reply.status, reply.value("Retry-After")) == (503, "5")
    assert reply.value("Cache-Control") == "no-store"
    assert site.app.seen == []


@pytest.mark.row("authgate is down, hangs, closes the connection or sends an unknown status: 503")
@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "404 Not Found", "418 Teapot", "500 Oops"])
async def test_an_unknown_status_of_the_gate_is_a_503(site: Site, note: Note, status: str) -> None:
    """Only the statuses of authgate count. 204 is not one of them."""
    answer = f"HTTP/1.1 {status}\r\nLocation: http://elsewhere/\r\n"
    if not status.startswith("204"):
        answer += "Content-Length: 0\r\n"
    async with site.gate.failing(f"{answer}\r\n".encode()):
        reply = await site.ask("GET / HTTP/1.1", token=site.token())
    if status.startswith("204") and site.program.any_2xx:
        note("yes, but 204 passes")
        return
    assert (reply.status, reply.value("Retry-After")) == (503, "5")
    assert site.app.seen == []


@pytest.mark.row("a different server's 200 on authgate's port does not open the app")
async def test_a_200_of_another_server_gives_no_identity(site: Site, note: Note) -> None:
    """authgate's 200 has identity headers. If a proxy accepts one without them, the app gets no identity."""
    async with site.gate.failing(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"):
        reply = await site.ask("GET / HTTP/1.1", "X-Auth-Request-User: mallory")
    if site.program.any_200:
        assert "mallory" not in str(site.app.seen)
        note("no")
        return
    assert (reply.status, reply.value("Retry-After")) == (503, "5")
    assert site.app.seen == []


@pytest.mark.row("a token in the query or in a cookie is not accepted")
async def test_a_token_outside_of_authorization_is_ignored(site: Site) -> None:
    """A token in the query or in a cookie is not used."""
    token = site.token()
    target = f"/?access_token={token}&token={token}"
    reply = await site.ask(f"GET {target} HTTP/1.1", f"Cookie: token={token}; access_token={token}")
    assert (reply.status, reply.reason) == (401, "no_credential")
    assert site.app.seen == []
