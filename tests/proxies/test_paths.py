"""The app reads the same path as authgate's rules: no spelling of a path opens another one."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.proxies.site import HEALTH
from tests.support.wire import ask

if TYPE_CHECKING:
    from tests.proxies.site import Site

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.row("no spelling of a path opens a different path"),
]

TRICKS = [
    "/open/../secret",
    "/open/%2e%2e/secret",
    "/open/.%2e/secret",
    "/open/..%2fsecret",
    "/open/%2e%2e%2fsecret",
    "/open%2f..%2fsecret",
    "/open/x/..%2f..%2fsecret",
    "/open/%252e%252e/secret",
    "/open/%252e%252e%252fsecret",
    "/open//../secret",
    "/open/..//secret",
    "/open/..;/secret",
    "/open/..;x=1/secret",
    "/open;/../secret",
    "/open/;/../../secret",
    "/open/\\..\\secret",
    "/open/%5c..%5csecret",
    "/open/x%00/../../secret",
    "/open/%c0%ae%c0%ae/secret",
    "/./open/../secret",
    "//secret/../open/x",
    "/secret/../open/x",
    "/secret/%2e%2e/open/x",
    "/secret/..%2fopen/x",
    "/secret/..;/open/x",
    "/secret;/../open/x",
    "/secret#/../open/x",
    "/secret%23/../open/x",
    "/secret?/../open/x",
    "/secret%3f/../open/x",
    "http://app.example.com/secret",
    "http://app.example.com/open/../secret",
    "//open/x",
    "/open//secret",
    f"/secret/..{HEALTH}",
    f"{HEALTH}/../secret",
    f"{HEALTH}%2f..%2fsecret",
    f"{HEALTH};/../secret",
    f"/secret/%2e%2e{HEALTH}",
    f"//{HEALTH}",
    f"{HEALTH}/",
    f"{HEALTH}%00/secret",
]


def readings(target: str) -> set[str]:
    """Return the paths that an app might read in a request target."""
    path = re.sub(r"^https?://[^/]*", "", target).partition("?")[0]
    found = set()
    for times, parameters, backslashes, slashes in product(range(3), *([(False, True)] * 3)):
        read = path
        for _ in range(times):
            read = unquote(read, errors="replace")
        if parameters:
            read = re.sub(r";[^/]*", "", read)
        if backslashes:
            read = read.replace("\\", "/")
        if slashes:
            read = re.sub(r"/+", "/", read)
        found.add(resolved(read))
    return found


def resolved(path: str) -> str:
    """Return the path without dot segments (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


@pytest.mark.parametrize("target", TRICKS)
async def test_no_spelling_opens_another_path(site: Site, target: str) -> None:
    """Every path that reaches the app without a token is below the open paths, however the app reads it."""
    reply = await site.ask(f"GET {target} HTTP/1.1")
    for seen in site.app.seen:
        strays = [path for path in readings(seen.target) if not (path.startswith("/open/") or path == HEALTH)]
        assert strays == [], (seen.target, site.gate.received)
    assert site.app.seen or reply.status in {301, 302, 308, 400, 401, 403, 404}


async def test_an_open_path_is_open(site: Site) -> None:
    """A path that the policy opens needs no token, and the app gets no identity."""
    reply = await site.ask("GET /open/page?x=1 HTTP/1.1", "X-Auth-Request-User: mallory")
    assert reply.status == 200
    [seen] = site.app.seen
    assert seen.target == "/open/page?x=1"
    assert "".join(seen.values("X-Auth-Request-User")) == ""


async def test_a_rule_sees_host_method_and_path(site: Site) -> None:
    """A rule opens its host, method and path, and no others."""
    asked = {}
    for line in ("GET /pages/1", "POST /pages/1", "GET /other"):
        for host in ("docs.example.com", "app.example.com"):
            reply = await ask(site.address, f"{line} HTTP/1.1", f"Host: {host}", "Connection: close")
            asked[line, host] = reply.status
    assert {case for case, status in asked.items() if status == 200} == {("GET /pages/1", "docs.example.com")}
    assert set(asked.values()) == {200, 401}


@pytest.mark.parametrize(
    "target", [trick.replace("/open", "/pages") for trick in TRICKS if trick.startswith("/open")]
)
async def test_no_spelling_opens_another_path_by_a_rule(site: Site, target: str) -> None:
    """This also holds if a rule for the host opens the path."""
    reply = await ask(site.address, f"GET {target} HTTP/1.1", "Host: docs.example.com", "Connection: close")
    for seen in site.app.seen:
        assert [path for path in readings(seen.target) if not path.startswith("/pages/")] == []
    assert site.app.seen or reply.status in {301, 302, 308, 400, 401, 403, 404}


async def test_the_client_cannot_change_the_forwarded_path(site: Site) -> None:
    """authgate ignores forwarding headers from the client."""
    lies = ["X-Original-URI", "X-Original-URL", "X-Forwarded-Uri", "X-Envoy-Original-Path", "X-Rewrite-URL"]
    lines = [f"{name}: /open/page" for name in lies]
    reply = await site.ask(
        "GET /secret HTTP/1.1", *lines, "X-Forwarded-Method: GET", "X-Original-Method: GET"
    )
    assert reply.status == 401
    assert site.app.seen == []
