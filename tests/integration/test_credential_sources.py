"""Tokens in other places than `Authorization`, over the wire."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import knowing, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
TOKEN = ISSUER.mint("ada", lifetime=86400, claims={"sub": "ada", "jti": "j-1"})
PROTOCOL = (
    "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(TOKEN.encode()).rstrip(b"=").decode()
)
EVERYWHERE = [
    {"header": "X-Token"},
    {"header": "X-Forwarded-Authorization", "scheme": "Bearer"},
    {"cookie": "access_token"},
    {"query": "access_token"},
    {"websocket": True},
]
PLACES = {
    "Authorization": [("Authorization", f"Bearer {TOKEN}")],
    "a header": [("X-Token", TOKEN)],
    "a header with a scheme": [("X-Forwarded-Authorization", f"bearer {TOKEN}")],
    "a cookie": [("Cookie", f"theme=dark; access_token={TOKEN}")],
    "the query": [("X-Original-URI", f"/a?access_token={TOKEN}&b=1"), ("X-Original-Method", "GET")],
    "a WebSocket protocol": [("Sec-WebSocket-Protocol", f"{PROTOCOL}, chat")],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[Gate]:
    """A gate that reads tokens everywhere."""
    document = {
        "jwt": [knowing(ISSUER)],
        "credential": {"sources": EVERYWHERE},
        "server": {"proxy": "nginx"},
        "log": {"audit": "all"},
    }
    async with running(document) as running_gate:
        yield running_gate


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", PLACES)
async def test_a_token_opens_from_every_place(gate: Gate, place: str) -> None:
    """Each place that is configured is read, and what is left of it says nothing of the token."""
    answer = await gate.request(headers=PLACES[place])
    assert (answer.status, answer.value("X-Auth-Request-User")) == (200, "corp:ada")
    assert not any(TOKEN in value or PROTOCOL in value for _, value in answer.headers)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", [name for name in PLACES if name != "a header"])
async def test_two_places_are_refused(gate: Gate, place: str) -> None:
    """Two tokens in one request are two credentials, also where both are the same."""
    assert (await gate.request(headers=PLACES[place] + PLACES["a header"])).verdict == (
        401,
        "multiple_credentials",
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_the_answer_tells_what_is_left(gate: Gate) -> None:
    """The proxy is told the cookies, the URI and the protocols to send on."""
    headers = [
        ("Cookie", f"theme=dark; access_token={TOKEN}"),
        ("X-Original-URI", "/a?b=1"),
        ("Sec-WebSocket-Protocol", "chat"),
    ]
    answer = await gate.request(headers=headers)
    assert answer.headers_from("X-Auth-Forward-") == [
        ("X-Auth-Forward-Cookie", "theme=dark"),
        ("X-Auth-Forward-Uri", "/a?b=1"),
        ("X-Auth-Forward-Websocket-Protocol", "chat"),
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_tells_nothing_of_the_request(gate: Gate) -> None:
    """What is left of a request stands on a 200 and nowhere else."""
    answer = await gate.request("rubbish", headers=[("Cookie", "theme=dark")])
    assert (answer.status, answer.headers_from("X-Auth-Forward-")) == (401, [])


@pytest.mark.asyncio(loop_scope="module")
async def test_no_place_is_logged(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """The audit stream, with every decision in it, holds no token of any place."""
    for headers in PLACES.values():
        await gate.request(headers=headers)
    assert TOKEN not in caplog.text
    assert PROTOCOL not in caplog.text


@pytest.mark.parametrize("place", [name for name in PLACES if name != "Authorization"])
async def test_a_place_that_is_not_configured_is_not_read(place: str) -> None:
    """Without `credential.sources` only `Authorization` is a credential."""
    async with running({"jwt": [knowing(ISSUER)]}) as plain:
        assert (await plain.request(headers=PLACES[place])).verdict == (401, "no_credential")
