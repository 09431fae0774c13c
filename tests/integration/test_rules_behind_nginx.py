"""Rules by host, method and path, behind a real nginx with the users' configuration."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import pytest_asyncio

from tests.support.gate import Gate
from tests.support.key_pool import KeyPool
from tests.support.nasty_paths import NASTY
from tests.support.nginx import SeenRequest
from tests.support.site import Site, site_behind
from tests.support.wire import Reply, ask, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ISSUER = "https://issuer.example"
POLICIES = """
policies:
  default:
    allow: [{users: ["corp:jane"]}]
    rules:
    - {hosts: [admin.example], deny: [{users: ["corp:jane"]}]}
    - {paths: ["/public/*"], anonymous: true}
    - {methods: [DELETE], deny: [{users: ["corp:jane"]}]}
    - {paths: ["/mine/*"], expression: '"corp:" + request.segments[1] == user.username'}
    shadow:
      deny: [{expression: 'request.path.startsWith("/old/")'}]
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Front:
    """nginx with its gate and app, and a token for Jane."""

    def __init__(self, site: Site, gate: Gate, token: str) -> None:
        self.site = site
        self.gate = gate
        self._token = token

    async def ask(
        self, line: str | bytes, *lines: str, host: str = "app.example", token: bool = True
    ) -> Reply:
        """Return nginx's response to a request."""
        fields = [f"Host: {host}", *lines, *([bearer(self._token)] if token else [])]
        return await ask(self.site.url.removeprefix("http://"), line, *fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """A site whose gate has these policies."""
    folder = tmp_path_factory.mktemp("rules")
    key = KeyPool().key("RS256")
    (folder / "keys.json").write_text(json.dumps({"keys": [key.jwk()]}))
    now = int(time.time())
    token = key.sign({"iss": ISSUER, "aud": "app", "sub": "jane", "exp": now + 3600})
    path = folder / "authgate.yaml"
    path.write_text(f"""
jwt:
- issuer: {{url: "{ISSUER}", audiences: [app]}}
  claimMappings: {{username: {{claim: sub, prefix: "corp:"}}}}
  gate: {{name: corp, staticKeys: {{file: {folder}/keys.json}}}}
server: {{proxy: nginx}}
{POLICIES}""")
    async with Gate(path) as gate, site_behind(gate, folder) as site:
        yield Front(site, gate, token)


def seen(reply: Reply) -> SeenRequest:
    """Return the request as the app saw it."""
    assert reply.status == 200, reply
    return SeenRequest.of_answer(json.loads(reply.body))


@pytest.mark.parametrize(
    ("line", "host", "token", "status", "reason"),
    [
        pytest.param("GET /a HTTP/1.1", "app.example", True, 200, "", id="the policy's own"),
        pytest.param("GET /a HTTP/1.1", "ADMIN.example", True, 403, "denied", id="by host"),
        pytest.param("GET /a HTTP/1.1", "admin.example:8443", True, 403, "denied", id="by host, with a port"),
        pytest.param(
            "GET http://admin.example/a HTTP/1.1",
            "app.example",
            True,
            403,
            "denied",
            id="by the target's host",
        ),
        pytest.param("DELETE /a HTTP/1.1", "app.example", True, 403, "denied", id="by method"),
        pytest.param("GET /public/a HTTP/1.1", "app.example", False, 200, "", id="anonymous"),
        pytest.param(
            "GET /public/a?/../b HTTP/1.1", "app.example", False, 200, "", id="anonymous, with a query"
        ),
        pytest.param("GET /p%75blic/a HTTP/1.1", "app.example", False, 200, "", id="anonymous, escaped"),
        pytest.param("GET /public/../a HTTP/1.1", "app.example", False, 401, "no_credential", id="a detour"),
        pytest.param(
            "GET /public/../a HTTP/1.1", "app.example", True, 403, "path_ambiguous", id="a known detour"
        ),
        pytest.param("GET /mine/jane/x HTTP/1.1", "app.example", True, 200, "", id="by expression"),
        pytest.param(
            "GET /mine/joe/x HTTP/1.1", "app.example", True, 403, "not_allowed", id="by expression, not"
        ),
        pytest.param(
            "GET /mine%2fjane HTTP/1.1", "app.example", True, 403, "path_ambiguous", id="an escaped slash"
        ),
    ],
)
async def test_a_request_is_decided_by_its_rule(
    front: Front, line: str, host: str, token: bool, status: int, reason: str
) -> None:
    """Host, method and path are those of the request to nginx. Headers of the client cannot replace them."""
    lies = ["X-Original-URI: /public/x", "X-Original-Method: GET", "X-Original-Host: app.example"]
    reply = await front.ask(line, *lies, host=host, token=token)
    assert (reply.status, "".join(reply.values("X-Auth-Reason"))) == (status, reason)


async def test_no_nasty_path_leads_out_of_the_public_folder(front: Front) -> None:
    """Without a token only paths below /public/ reach the app, even if the app decodes them once more."""
    reached = []
    for path in NASTY:
        reply = await front.ask(b"GET " + path + b" HTTP/1.1", token=False)
        if reply.status == 200:
            reached.append(seen(reply).path)
    assert [path for path in reached if not unquote(path).startswith("/public/")] == []
    assert [path for path in reached if "/../" in unquote(unquote(path)) or "\\" in unquote(path)] == []
    assert len(reached) >= 5


async def test_a_shadow_policy_is_counted_and_decides_nothing(front: Front) -> None:
    """The metric counts each request that the shadow policy would have decided differently."""
    labels = {"policy": "default", "live": "authenticated", "shadow": "denied"}
    before = await front.gate.metric("authgate_shadow_differences_total", **labels)
    replies = [await front.ask(f"GET {path} HTTP/1.1") for path in ("/old/a", "/old/b", "/new/a", "/old/a")]
    assert [reply.status for reply in replies] == [200] * 4
    assert await front.gate.metric("authgate_shadow_differences_total", **labels) - before == 3
