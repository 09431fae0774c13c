"""A gate with token introspection: verdicts, outages, readiness, reloads and metrics."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET, AuthorizationServer
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import Drop, Fault, Hold, broken_json, failing, html, json_answer, redirect
from tests.support.gate import AUDIENCE
from tests.support.process import until
from tests.support.service import comes_to, published, running, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.gate import Gate

TOKEN, REVOKED = "gho_secret-token-of-jane", "gho_secret-token-of-joe"
FAULTS: dict[str, Fault] = {
    "500": failing(500),
    "401": failing(401),
    "hangs": Hold(),
    "dropped": Drop(),
    "html": html(),
    "broken-json": broken_json(),
    "no-active": json_answer({"sub": "jane", "aud": AUDIENCE}),
    "redirect": redirect("/other"),
}


@asynccontextmanager
async def authorization_server() -> AsyncIterator[tuple[AuthorizationServer, EmbeddedServer]]:
    """Run a server with one active token."""
    async with EmbeddedServer() as server:
        site = AuthorizationServer(server.url)
        site.tokens[TOKEN] = {"sub": "jane", "aud": AUDIENCE, "scope": "read write", "client_id": "app"}
        server.add(site)
        yield site, server
        server.faults.clear()


def asking(site: AuthorizationServer, folder: Path, name: str = "opaque", **members: Any) -> dict[str, Any]:
    """Return an entry of `introspection` for the server."""
    secret = folder / "client-secret"
    secret.write_text(SECRET)
    return {
        "name": name,
        "endpoint": site.url + INTROSPECT,
        "clientAuth": {"clientID": CLIENT, "secretFile": str(secret)},
        "audiences": [AUDIENCE],
        "claimMappings": {
            "username": {"claim": "sub", "prefix": f"{name}:"},
            "groups": {"expression": "claims.?scope.orValue('').split(' ')"},
        },
        "timeout": "30s",
        **members,
    }


async def ready(gate: Gate) -> None:
    """Wait until the gate is ready."""

    async def is_ready() -> bool:
        return (await gate.admin("/readyz")).status == 200

    await until(is_ready, within=30)


async def test_an_opaque_token_is_allowed(tmp_path: Path) -> None:
    """The identity is that of the response. The second request uses the cache. /status contains no token."""
    async with (
        authorization_server() as (site, server),
        running({"introspection": [asking(site, tmp_path)]}) as gate,
    ):
        await ready(gate)
        probes = server.counts[INTROSPECT]
        answer = await gate.request(TOKEN)
        assert answer.verdict == (200, "")
        assert answer.value("X-Auth-Request-User") == "opaque:jane"
        assert answer.value("X-Auth-Request-Groups") == "read,write,system:authenticated"
        assert await gate.verdict(REVOKED) == (401, "introspection_inactive")
        assert await gate.verdict(TOKEN) == (200, "")
        assert await gate.verdict(REVOKED) == (401, "introspection_inactive")
        assert server.counts[INTROSPECT] == probes + 2
        status = (await gate.admin("/status")).body
        assert {"name": "introspection/opaque", "good": True, "detail": "answers"} in json.loads(status)[
            "checks"
        ]
        assert (
            await gate.metric("authgate_introspection_requests_total", issuer="opaque", result="active") == 1
        )
        await comes_to(
            gate,
            1,
            "authgate_verify_requests_total",
            decision="deny",
            reason="introspection_inactive",
            source="introspection",
            policy="default",
        )


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_an_outage_is_never_a_401(tmp_path: Path, fault: Fault) -> None:
    """Every token gets 503, and the gate is not ready. It recovers without a request."""
    async with authorization_server() as (site, server):
        server.faults.set(INTROSPECT, fault)
        # A server that hangs is found by a timeout, and all other faults without one, however slowly.
        timeout = "1s" if isinstance(fault, Hold) else "30s"
        async with running({"introspection": [asking(site, tmp_path, timeout=timeout)]}) as gate:
            for token in (TOKEN, REVOKED):
                answer = await gate.request(token)
                assert answer.verdict == (503, "introspection_unavailable")
                assert int(answer.value("Retry-After")) >= 1
            verbose = await gate.admin("/readyz?verbose")
            assert verbose.status == 503
            assert "[-]introspection/opaque failed: " in verbose.body
            server.faults.clear()
            if isinstance(fault, Hold):
                await ready(gate)  # by a probe, which is sent every 5 s
            assert await gate.verdict(TOKEN) == (200, "")
            assert await gate.verdict(REVOKED) == (401, "introspection_inactive")


class _Firewalled(AuthorizationServer):
    """An authorization server behind a firewall that refuses what looks like an attack."""

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        refused = b"token=..%2F" in await request.read()
        return web.Response(status=403) if refused else await super().respond(request)


async def test_a_token_that_the_server_cannot_answer_does_not_stop_the_gate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client chooses its token, so its failure says nothing about others: the gate stays ready, and logs nothing."""
    caplog.set_level(logging.INFO)
    async with EmbeddedServer() as server:
        site = _Firewalled(server.url)
        site.tokens[TOKEN] = {"sub": "jane", "aud": AUDIENCE}
        server.add(site)
        async with running({"introspection": [asking(site, tmp_path)]}) as gate:
            await ready(gate)
            for _ in range(3):
                assert await gate.verdict("../../etc/passwd") == (503, "introspection_unavailable")
                assert (await gate.admin("/readyz")).status == 200
                assert await gate.verdict(TOKEN) == (200, "")
            assert "introspection fails" not in caplog.text
            server.faults.set(INTROSPECT, failing(403))
            assert (await gate.verdict(REVOKED))[0] == 503

            async def is_not_ready() -> bool:
                return (await gate.admin("/readyz")).status == 503

            await until(is_not_ready, within=30)
            assert caplog.text.count("introspection fails") == 1


async def test_rejected_client_credentials_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """/readyz and the log name them. Clients get 503, because their tokens are not the problem."""
    async with authorization_server() as (site, _):
        entry = asking(site, tmp_path)
        site.secret = "rotated"
        async with running({"introspection": [entry]}) as gate:
            assert await gate.verdict(TOKEN) == (503, "introspection_unavailable")
            assert "authgate's own client credentials" in (await gate.admin("/readyz?verbose")).body
            (tmp_path / "client-secret").write_text("rotated")
            assert await gate.verdict(TOKEN) == (200, "")
    assert TOKEN not in caplog.text
    assert SECRET not in caplog.text


async def test_a_cached_verdict_is_used_until_its_ttl(tmp_path: Path) -> None:
    """A revoked token is accepted until then."""
    async with authorization_server() as (site, _):
        entry = asking(site, tmp_path, cache={"ttl": "1s"})
        async with running({"introspection": [entry]}) as gate:
            assert await gate.verdict(TOKEN) == (200, "")
            del site.tokens[TOKEN]

            async def rejected() -> bool:
                return await gate.verdict(TOKEN) == (401, "introspection_inactive")

            await until(rejected, within=30)


async def test_jwts_of_an_issuer_are_also_introspected(tmp_path: Path) -> None:
    """A JWT is verified locally, then introspected. A revoked one is rejected. A forged one is never sent."""
    async with authorization_server() as (site, server), published() as (issuer, _):
        good, revoked = issuer.mint("jane"), issuer.mint("joe")
        site.tokens[good] = {}
        entry = asking(site, tmp_path, tokens="all", issuers=["corp"])
        async with running({"introspection": [entry], "jwt": [trusting(issuer)]}) as gate:
            await gate.has_keys(within=30)
            await ready(gate)
            answer = await gate.request(good)
            assert answer.value("X-Auth-Request-User") == "corp:jane"
            assert await gate.verdict(revoked) == (401, "introspection_inactive")
            count = server.counts[INTROSPECT]
            assert await gate.verdict(good[:-8] + "AAAAAAAA") == (401, "signature_invalid")
            assert await gate.verdict(TOKEN) == (200, "")
            assert server.counts[INTROSPECT] == count + 1
            server.faults.set(INTROSPECT, failing(500))
            assert await gate.verdict(issuer.mint("new")) == (503, "introspection_unavailable")


async def test_jwts_of_an_issuer_without_keys_are_introspected(tmp_path: Path) -> None:
    """The endpoint is discovered through the issuer, and only the response decides."""
    async with authorization_server() as (site, _), published() as (issuer, _):
        issuer.url = site.url
        token = issuer.mint("claimed by the token")
        site.tokens[token] = {"sub": "jane", "aud": AUDIENCE, "iss": site.url}
        entry = asking(site, tmp_path, endpoint=None, issuer=site.url)
        policies = {
            "default": {"allow": [{"issuers": ["opaque"], "expression": "claims.sub == 'jane'"}]},
            "other": {"allow": [{"issuers": ["opaque"], "users": ["claimed*"]}]},
        }
        async with running({"introspection": [entry], "policies": policies}) as gate:
            assert await gate.verdict(token) == (200, "")
            assert await gate.verdict(token, "/policies/other/verify") == (403, "not_allowed")
            assert await gate.verdict(issuer.mint(claims={"iss": "https://other.example"})) == (
                401,
                "issuer_unknown",
            )


async def test_a_prefix_selects_the_server(tmp_path: Path) -> None:
    """An opaque token without a matching entry is rejected and not sent to any server."""
    async with authorization_server() as (site, server):
        entry = asking(site, tmp_path, prefix="gho_")
        async with running({"introspection": [entry]}) as gate:
            await ready(gate)
            count = server.counts[INTROSPECT]
            assert await gate.verdict("ghp_other") == (401, "token_opaque")
            assert server.counts[INTROSPECT] == count
            assert await gate.verdict(TOKEN) == (200, "")
