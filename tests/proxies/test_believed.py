"""Headers that describe a request to apps: the app gets the proxy's own headers, never the client's."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from authgate.vocabulary import REMOVED_HEADERS, REPLACED_HEADERS

if TYPE_CHECKING:
    from tests.proxies.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROW = "a client's `{}` never reaches the app"
NAMES = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
]
"""The headers that most apps trust. Each has its own row."""
OTHERS = [name for name in (*REPLACED_HEADERS, *REMOVED_HEADERS) if name not in NAMES]
OWN = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "app.example.com", "X-Forwarded-Proto": "http"}


def spellings(name: str) -> list[str]:
    """Return the name unchanged, in lower case, with underscores instead of dashes, and with one underscore."""
    return [name, name.lower(), name.replace("-", "_"), name.replace("-", "_", 1)]


async def removed(site: Site, name: str) -> None:
    """Send the header in every spelling, once and twice, and check that the app does not get it."""
    lie = "mallory.example.com"
    for spelling, times in product(spellings(name), (1, 2)):
        seen = await site.passes("GET / HTTP/1.1", *[f"{spelling}: {lie}"] * times, f"X-Own: {spelling}")
        assert lie not in str(seen), (spelling, seen)
        if name in OWN:
            assert seen.values(name) == [OWN[name]], spelling


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.row(ROW.format(name))) for name in NAMES],
    ids=NAMES,
)
async def test_a_clients_own_header_never_reaches_the_app(site: Site, name: str) -> None:
    """The proxy sets or removes it."""
    await removed(site, name)


@pytest.mark.row("a client's other forwarding headers never reach the app")
@pytest.mark.parametrize("name", OTHERS)
async def test_a_clients_other_headers_never_reach_the_app(site: Site, name: str) -> None:
    """These are names that other proxies and frameworks use."""
    await removed(site, name)


@pytest.mark.row(ROW.format("X-Forwarded-For"))
@pytest.mark.parametrize("name", REPLACED_HEADERS)
async def test_connection_does_not_remove_the_proxys_headers(site: Site, name: str) -> None:
    """If `Connection` names the header, the app still gets the proxy's value, or the proxy rejects the request."""
    reply = await site.ask("GET / HTTP/1.1", f"Connection: close, {name}", token=site.token())
    assert [seen.values(name) for seen in site.app.seen] == ([] if reply.status == 400 else [[OWN[name]]])
