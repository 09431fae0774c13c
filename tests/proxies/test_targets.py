"""A request target that is not a path never reaches the app, and never selects the gate's policy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.proxies.http2 import NO_ANSWER, ask_http2
from tests.proxies.site import RULES, certified, protected
from tests.support.wire import ask, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.proxies.conftest import Note
    from tests.proxies.programs import Program
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROW = pytest.mark.row("`CONNECT` and request targets that are not a path never reach the app")
HOSTS = pytest.mark.row("authgate and the app see the same host")
TARGETS = [
    "foo:http://x/verify/../admin",
    "foo:http://x/policies/public/verify/../../admin",
    "foo:http://x/policies/public/verify",
    "foo:bar",
    "app.example.com:80",
    "*",
    "verify",
    "policies/public/verify",
    "?x=/policies/public/verify",
    "#/policies/public/verify",
]
TUNNELS = ["app.example.com:443", "foo", "/policies/public/verify", "*"]
LINES = [
    *(f"GET {target} HTTP/1.1" for target in TARGETS),
    "OPTIONS * HTTP/1.1",
    *(f"CONNECT {target} HTTP/1.1" for target in TUNNELS),
]
REFUSED = {NO_ANSWER, 400, 401, 403, 404, 405, 501, 503}
OPEN: dict[str, Any] = {
    "policies": {"default": {"rules": RULES}, "public": {"rules": [{"anonymous": True}]}},
}
"""A gate whose policy `public` allows every request, if a client can select it."""


@asynccontextmanager
async def with_tls(program: Program, folder: Path, **options: Any) -> AsyncIterator[Site]:
    """Yield the site with TLS, for HTTP/2."""
    certified(folder)
    async with protected(program, folder, tls=True, **options) as site:
        yield site


@ROW
@pytest.mark.parametrize("present", [False, True], ids=["no token", "good token"])
async def test_only_paths_reach_the_app(
    program: Program, tmp_path: Path, note: Note, *, present: bool
) -> None:
    """Over HTTP/1.1, with and without a valid token. A policy that allows every request is never selected."""
    async with protected(program, tmp_path / "proxy", more=OPEN) as site:
        lines = [bearer(site.token())] if present else []
        for line in LINES:
            reply = await ask(site.address, line, "Host: app.example.com", *lines, "Connection: close")
            assert site.app.seen == [], line
            if line.startswith("OPTIONS") and site.program.answers_options:
                assert reply.body == b""
                continue
            assert reply.status in REFUSED, line
    if program.name == "traefik":
        note("if the policy has `rules`")


@ROW
async def test_only_paths_reach_the_app_over_http2(program: Program, tmp_path: Path) -> None:
    """This holds for every `:path`, and for `CONNECT` with and without the fields of HTTP/2."""
    async with with_tls(program, tmp_path / "proxy", more=OPEN) as site:
        lines = {":scheme": "https", ":authority": "app.example.com"}
        requests = [{":method": "GET", ":path": target, **lines} for target in TARGETS]
        requests += [{":method": "CONNECT", ":path": target, **lines} for target in TUNNELS]
        requests += [{":method": "CONNECT", ":authority": target} for target in TUNNELS]
        websocket = {":method": "CONNECT", ":protocol": "websocket", ":path": "foo:http://x/verify", **lines}
        for request in [*requests, websocket]:
            for more in ((), (("authorization", f"Bearer {site.token()}"),)):
                status = await ask_http2(site.address, [*request.items(), *more])
                assert (site.app.seen, status in REFUSED) == ([], True), (request, more, status)
        good = {":method": "GET", ":path": "/", **lines, "authorization": f"Bearer {site.token()}"}
        assert await ask_http2(site.address, list(good.items())) == 200


@HOSTS
@pytest.mark.parametrize(
    "lines",
    [
        ["GET http://docs.example.com/pages/1 HTTP/1.1", "Host: app.example.com"],
        ["GET http://app.example.com/pages/1 HTTP/1.1", "Host: docs.example.com"],
        ["GET /pages/1 HTTP/1.1", "Host: docs.example.com", "Host: app.example.com"],
        ["GET /pages/1 HTTP/1.1", "Host: app.example.com", "Host: docs.example.com"],
        ["GET /pages/1 HTTP/1.1", "Host: app.example.com", "X-Forwarded-Host: docs.example.com"],
        ["GET /pages/1 HTTP/1.1", "Host: app.example.com", "X-Original-Host: docs.example.com"],
    ],
    ids=[
        "target",
        "target of another",
        "host twice",
        "host twice, in another order",
        "forwarded",
        "original",
    ],
)
async def test_one_host_for_gate_and_app(site: Site, lines: list[str]) -> None:
    """Without a token only pages of docs.example.com are open, so the app gets no other host."""
    await ask(site.address, *lines, "Connection: close")
    assert [named(seen) for seen in site.app.seen] in ([], [{"docs.example.com"}])


@HOSTS
async def test_one_host_for_gate_and_app_over_http2(program: Program, tmp_path: Path) -> None:
    """This also holds if `:authority` and `host` differ."""
    async with with_tls(program, tmp_path / "proxy") as site:
        for one, other in (("docs", "app"), ("app", "docs")):
            request = {":method": "GET", ":scheme": "https", ":path": "/pages/1"}
            hosts = {":authority": f"{one}.example.com", "host": f"{other}.example.com"}
            await ask_http2(site.address, list((request | hosts).items()))
        assert all(named(seen) == {"docs.example.com"} for seen in site.app.seen)


def named(seen: Any) -> set[str]:
    """Return the example's hosts that an app could take for the request's host."""
    received = " ".join([seen.target, *(value for _, value in seen.headers)])
    return {host for host in ("docs.example.com", "app.example.com") if host in received}
