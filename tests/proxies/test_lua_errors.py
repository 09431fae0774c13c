"""HAProxy continues with the next rule after an error in Lua. Nothing reaches the app then."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.proxies.programs import PROGRAMS
from tests.proxies.site import HEALTH, protected

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILING = """
local new = core.httpclient
core.httpclient = function()
    if fails then
        error("no memory")
    end
    return new()
end
core.register_action("fail", { "http-req" }, function() fails = true end)
"""
"""Makes every request to the gate fail after a first one to /fail."""


def _changed(changes: dict[str, str], text: str) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


async def test_an_error_in_lua_denies_the_request(tmp_path: Path) -> None:
    """The client gets the 503 of a gate that does not answer. Open paths need no Lua."""
    haproxy = PROGRAMS["haproxy"]
    action = "http-request lua.authgate /"
    changes = {
        "lua-load authgate.lua": "lua-load authgate.lua\n    lua-load fail.lua",
        action: f"http-request lua.fail if {{ path /fail }}\n    {action}",
    }
    failing = replace(haproxy, change=partial(_changed, changes))
    (tmp_path / "fail.lua").write_text(FAILING, encoding="utf-8")
    async with protected(failing, tmp_path, open_paths=(HEALTH,)) as site:
        await site.passes("GET / HTTP/1.1")
        for target in ("/fail", "/", "/"):
            reply = await site.ask(f"GET {target} HTTP/1.1", "X-Auth-Request-User: root", token=site.token())
            assert (reply.status, reply.value("Retry-After")) == (503, "5"), target
            assert reply.value("Cache-Control") == "no-store"
            assert len(reply.value("X-Request-Id") or "") == 36
        assert len(site.app.seen) == 1
        assert (await site.ask(f"GET {HEALTH} HTTP/1.1")).status == 200


@pytest.mark.parametrize("name", ["Authorization", "Origin", "Access-Control-Request-Method", "Cookie"])
async def test_a_hundred_headers_do_not_reach_the_gate(tmp_path: Path, name: str) -> None:
    """HAProxy 2.6 crashes if its request to the gate has so many."""
    more = {"credential": {"sources": [{"cookie": "session"}]}}
    async with protected(PROGRAMS["haproxy"], tmp_path, cookie=True, more=more) as site:
        reply = await site.ask("OPTIONS / HTTP/1.1", *[f"{name}: session=a.b.c"] * 97)
        assert (reply.status, site.app.seen) == (401, [])
        await site.passes("GET / HTTP/1.1", *[f"Cookie: a{number}=b" for number in range(40)])
