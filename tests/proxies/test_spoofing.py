"""Identity headers from a client never reach the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from tests.proxies.conftest import Note
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = [
    "X-Auth-Request-User",
    "x-auth-request-user",
    "X-AUTH-REQUEST-GROUPS",
    "X-Auth-Request-Email",
    "x_auth_request_user",
    "X-Auth_Request-User",
    "X_Auth_Request_Preferred_Username",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Groups",
    "Remote-User",
    "Remote_User",
    "REMOTE-GROUPS",
    "X-Forwarded-User",
]


@pytest.mark.row("identity headers sent by the client never reach the app")
@pytest.mark.parametrize("name", NAMES)
async def test_an_identity_header_of_the_client_is_removed(site: Site, name: str) -> None:
    """It is sent once and twice, in every spelling."""
    seen = await site.passes("GET / HTTP/1.1", f"{name}: mallory", f"{name}: mallory2")
    assert "mallory" not in str(seen)
    assert seen.values("X-Auth-Request-User") == ["corp:ada"]


@pytest.mark.row("identity headers sent by the client never reach the app")
@pytest.mark.parametrize(
    "connection",
    [
        "X-Auth-Request-User",
        "close, x-auth-request-user",
        "keep-alive, X-Auth-Request-User, X-Auth-Request-Groups",
    ],
)
async def test_a_header_named_in_connection_is_still_set(site: Site, connection: str) -> None:
    """`Connection` neither removes authgate's headers nor lets the client's pass."""
    token = site.token(groups=["dev"])
    lines = [f"Connection: {connection}", "X-Auth-Request-User: mallory"]
    seen = await site.passes("GET / HTTP/1.1", *lines, token=token)
    assert seen.values("X-Auth-Request-User") == ["corp:ada"]
    assert seen.values("X-Auth-Request-Groups") == ["dev,system:authenticated"]


@pytest.mark.row("identity headers in trailers never reach the app")
async def test_an_identity_header_in_the_trailers_is_not_used(site: Site, note: Note) -> None:
    """Some proxies drop trailers. No app should read an identity from a trailer."""
    head = ["POST / HTTP/1.1", "Host: app", bearer(site.token()), "Transfer-Encoding: chunked"]
    async with connected(site.address) as wire:
        await wire.send(*head, "Trailer: X-Auth-Request-User", "Connection: close")
        await wire.send_raw(b"5\r\nhello\r\n0\r\nX-Auth-Request-User: mallory\r\n\r\n")
        assert (await wire.reply()).status == 200
    [seen] = site.app.seen
    assert seen.values("X-Auth-Request-User") == ["corp:ada"]
    passed = b"mallory" in site.way.received
    assert passed is site.program.trailers_pass
    if passed:
        note("no")
