"""CORS preflights pass without a token if the policy allows it, and other requests do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.proxies.site import Site

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.row("CORS preflights pass if the policy allows them, and no other request does"),
]

ORIGIN = "Origin: https://pages.example.com"
ASKS = "Access-Control-Request-Method: DELETE"


async def test_a_preflight_reaches_the_app(site: Site) -> None:
    """The app gets the browser's headers, and no identity."""
    lies = ["X-Auth-Request-User: mallory", "X_Auth_Request_User: mallory"]
    reply = await site.ask("OPTIONS /cross/things?x=1 HTTP/1.1", ORIGIN, ASKS, *lies)
    assert reply.status == 200
    [seen] = site.app.seen
    assert (seen.method, seen.target) == ("OPTIONS", "/cross/things?x=1")
    assert seen.values("Access-Control-Request-Method") == ["DELETE"]
    assert "".join(seen.values("X-Auth-Request-User")) == ""
    assert "mallory" not in str(seen)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["OPTIONS /cross/x HTTP/1.1"], id="options alone"),
        pytest.param(["OPTIONS /cross/x HTTP/1.1", ORIGIN], id="no method asked for"),
        pytest.param(["OPTIONS /cross/x HTTP/1.1", ASKS], id="no origin"),
        pytest.param(["OPTIONS /cross/x HTTP/1.1", ORIGIN, ASKS, ASKS], id="two methods"),
        pytest.param(["OPTIONS /cross/x HTTP/1.1", ORIGIN, ORIGIN, ASKS], id="two origins"),
        pytest.param(
            ["OPTIONS /cross/x HTTP/1.1", ORIGIN, "Access-Control-Request-Method:"], id="empty method"
        ),
        pytest.param(
            ["OPTIONS /cross/x HTTP/1.1", "Origin: pages", ASKS], id="an origin that no browser writes"
        ),
        pytest.param(["GET /cross/x HTTP/1.1", ORIGIN, ASKS], id="get"),
        pytest.param(["DELETE /cross/x HTTP/1.1", ORIGIN, ASKS], id="delete"),
        pytest.param(
            ["DELETE /cross/x HTTP/1.1", ORIGIN, ASKS, "X-Original-Method: OPTIONS"], id="as nginx sends it"
        ),
        pytest.param(
            ["DELETE /cross/x HTTP/1.1", ORIGIN, ASKS, "X-Forwarded-Method: OPTIONS"], id="as caddy sends it"
        ),
        pytest.param(
            ["DELETE /cross/x HTTP/1.1", ORIGIN, ASKS, "X-HTTP-Method-Override: OPTIONS"], id="overridden"
        ),
        pytest.param(["OPTIONS /cross/x HTTP/1.1", ORIGIN, ASKS, "Authorization: Bearer x"], id="bad token"),
    ],
)
async def test_other_requests_need_a_token(site: Site, lines: list[str]) -> None:
    """A request that is not a preflight needs a token, and a preflight with a token needs a valid one."""
    reply = await site.ask(*lines)
    assert reply.status in {400, 401}
    assert site.app.seen == []
