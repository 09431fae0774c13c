"""The responses of the verify port to any method and to any path below its endpoints. They have no body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.service import knowing, running
from tests.support.wire import ask, bearer, connected, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gate import Gate

IN_EVERY_LOOP = True
IDENTITY = ("x-auth-request-", "x-remote-", "remote-")
POLICIES = {"default": {}, "billing": {"allow": [{"users": ["corp:invoicer"]}]}}


@pytest.fixture
def issuer() -> Issuer:
    """An issuer whose keys are in the gate's configuration."""
    return Issuer("https://issuer.example.com", SigningKey.generate("ES256"))


@pytest.fixture
async def gate(issuer: Issuer) -> AsyncIterator[Gate]:
    """A gate with two policies. The first allows every token of these tests, the other denies them."""
    async with running({"jwt": [knowing(issuer)], "policies": POLICIES}) as it:
        yield it


@pytest.mark.parametrize(
    "method",
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "PROPFIND",
        "REPORT",
        "MKCOL",
        "PURGE",
    ],
)
async def test_every_method_gets_the_same_answer(gate: Gate, issuer: Issuer, method: str) -> None:
    """The method of the subrequest may be the client's, and does not matter."""
    reply = await ask(gate.address, f"{method} /verify HTTP/1.1", "Host: gate", bearer(issuer.mint()))
    assert (reply.status, reply.value("Content-Length")) == (200, "0")


async def test_a_tunnel_is_not_opened(gate: Gate, issuer: Issuer) -> None:
    """A 2xx answer to CONNECT would turn the connection into a tunnel."""
    reply = await ask(gate.address, "CONNECT /verify HTTP/1.1", "Host: gate", bearer(issuer.mint()))
    assert reply.status == 400


@pytest.mark.parametrize("port", ["verify", "admin"])
@pytest.mark.parametrize(
    "line",
    [
        "GET http://another/verify",
        "GET https://another:1/policies/billing/verify",
        "GET HTTP://gate/livez",
        "GET foo:http://x/verify/../admin",
        "GET foo:/verify",
        "OPTIONS *",
        "GET *",
        "CONNECT gate:443",
        "CONNECT /verify",
        "CONNECT foo",
        "GET gate:443",
        "GET verify",
        "GET ?/verify",
        "GET http://another",
    ],
)
async def test_a_target_must_be_a_path(gate: Gate, issuer: Issuer, port: str, line: str) -> None:
    """Other forms could come from a client through a proxy. They get 400, and the connection ends."""
    address = gate.address if port == "verify" else gate.admin_address
    async with connected(address) as wire:
        request = head(f"{line} HTTP/1.1", "Host: gate", bearer(issuer.mint()))
        await wire.send_raw(request + head("GET /verify HTTP/1.1", "Host: gate", bearer(issuer.mint())))
        reply = await wire.reply()
        assert reply.status == 400
        assert reply.values("Connection") == ["close"] or reply.head.startswith(b"HTTP/1.0 ")
        assert not [name for name, _ in reply.lines if name.startswith(("x-auth", "remote-"))]
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/verify", 200),
        ("/verify/", 200),
        ("/verify/any/path", 200),
        ("/verify/../policies/billing/verify", 200),
        ("/verify/%2e%2e/%00", 200),
        ("/verify?", 200),
        ("/verify?policy=billing", 200),
        ("/verify/x?/policies/billing/verify", 200),
        ("/policies/billing/verify", 403),
        ("/policies/billing/verify/any/path", 403),
        ("/policies/default/verify", 200),
        ("/", 404),
        ("//verify", 404),
        ("/VERIFY", 404),
        ("/verify;x", 404),
        ("/verify%2fx", 404),
        ("/verifyx", 404),
        ("/x/verify", 404),
        ("/policies/none/verify", 404),
        ("/policies//verify", 404),
        ("/policies/billing", 404),
        ("/policies/billing/verifyx", 404),
        ("/policies/../verify", 404),
        ("/metrics", 404),
        ("/readyz", 404),
    ],
)
async def test_the_path_alone_names_the_policy(gate: Gate, issuer: Issuer, target: str, status: int) -> None:
    """What follows the endpoint, precedes its path or is in the query does not select a policy."""
    reply = await ask(gate.address, f"GET {target} HTTP/1.1", "Host: gate", bearer(issuer.mint()))
    assert reply.status == status


async def test_a_token_in_the_query_is_ignored(gate: Gate, issuer: Issuer) -> None:
    """RFC 6750, section 2.3 is not supported, because URLs are logged everywhere."""
    reply = await ask(gate.address, f"GET /verify?access_token={issuer.mint()} HTTP/1.1", "Host: gate")
    assert reply.reason == "no_credential"


async def test_http_1_0_is_answered_and_closed(gate: Gate, issuer: Issuer) -> None:
    """nginx uses HTTP/1.0 by default."""
    async with connected(gate.address) as wire:
        await wire.send("GET /verify HTTP/1.0", bearer(issuer.mint()))
        assert (await wire.reply()).status == 200
        assert await wire.rest() == b""


async def test_a_connection_serves_several_requests(gate: Gate, issuer: Issuer) -> None:
    """Each is decided by its own credential."""
    async with connected(gate.address) as wire:
        for token, status in ((issuer.mint(), 200), ("no.jwt.here", 401), (issuer.mint(), 200)):
            await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
            assert (await wire.reply()).status == status


async def test_pipelined_requests_are_answered_in_order(gate: Gate, issuer: Issuer) -> None:
    """Requests in one packet get an answer each."""
    good = head("GET /verify HTTP/1.1", "Host: gate", bearer(issuer.mint()))
    none = head("GET /verify HTTP/1.1", "Host: gate")
    other = head("GET /elsewhere HTTP/1.1", "Host: gate")
    async with connected(gate.address) as wire:
        await wire.send_raw(good + none + other + good)
        assert [(await wire.reply()).status for _ in range(4)] == [200, 401, 404, 200]


async def test_connection_close_is_honoured(gate: Gate) -> None:
    """The answer has the header, too."""
    async with connected(gate.address) as wire:
        await wire.send("GET /verify HTTP/1.1", "Host: gate", "Connection: close")
        assert (await wire.reply()).value("Connection") == "close"
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Content-Length: 10000000"], id="length"),
        pytest.param(["Transfer-Encoding: chunked"], id="chunked"),
        pytest.param(["Content-Length: 10000000", "Expect: 100-continue"], id="expect"),
        pytest.param(["Content-Length: 10000000", "Expect: the-impossible"], id="unknown-expectation"),
        pytest.param(["Content-Length: 10000000", "Content-Encoding: gzip"], id="compressed"),
    ],
)
async def test_the_decision_does_not_wait_for_the_body(gate: Gate, issuer: Issuer, lines: list[str]) -> None:
    """The decision comes at once, without a 100 before it and without any byte of the body."""
    reply = await ask(gate.address, "POST /verify HTTP/1.1", "Host: gate", bearer(issuer.mint()), *lines)
    assert reply.status == 200


@pytest.mark.parametrize(
    ("line", "body"),
    [
        pytest.param("Content-Length: 5", b"hello", id="length"),
        pytest.param("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n", id="chunked"),
        pytest.param("Content-Length: 5\r\nContent-Encoding: gzip", b"hello", id="no-gzip"),
        pytest.param(
            "Content-Length: 35", b"GET /verify HTTP/1.1\r\nHost: gate\r\n\r\n"[:35], id="a-request"
        ),
    ],
)
async def test_a_body_is_discarded(gate: Gate, issuer: Issuer, line: str, body: bytes) -> None:
    """It is not read as a request and not decompressed, and the connection stays open."""
    post = head("POST /verify HTTP/1.1", "Host: gate", bearer(issuer.mint()), line)
    async with connected(gate.address) as wire:
        await wire.send_raw(post + body + head("GET /elsewhere HTTP/1.1", "Host: gate"))
        assert [(await wire.reply()).status for _ in range(2)] == [200, 404]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_an_upgrade_is_not_made(gate: Gate, issuer: Issuer, protocol: str) -> None:
    """A request with an upgrade is decided as any other. What follows is not read as a request."""
    upgrade = head(
        "GET /verify HTTP/1.1",
        "Host: gate",
        "Connection: Upgrade",
        f"Upgrade: {protocol}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        bearer(issuer.mint()),
    )
    async with connected(gate.address) as wire:
        await wire.send_raw(upgrade + head("GET /verify HTTP/1.1", "Host: gate"))
        assert (await wire.reply()).status == 200
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        pytest.param([], "no_credential", id="none"),
        pytest.param(
            ["Authorization: Bearer {}", "Authorization: Bearer {}"], "multiple_credentials", id="twice"
        ),
        pytest.param(
            ["AUTHORIZATION: Bearer {}", "authorization: Basic eDp5"], "multiple_credentials", id="two"
        ),
        pytest.param(["Authorization: Bearer {}", "Authorization:"], "multiple_credentials", id="one-empty"),
        pytest.param(["Authorization: Bearer {},Bearer {}"], "multiple_credentials", id="comma"),
        pytest.param(["Authorization: Basic eDp5"], "scheme_not_bearer", id="basic"),
        pytest.param(["Authorization: Bearer {}\xff"], "credential_malformed", id="high-byte"),
    ],
)
async def test_exactly_one_bearer_credential_counts(
    gate: Gate, issuer: Issuer, credential: list[str], reason: str
) -> None:
    """Two field lines are refused, even if they are equal."""
    lines = [line.format(issuer.mint(), "x").encode("latin-1") for line in credential]
    reply = await ask(gate.address, "GET /verify HTTP/1.1", "Host: gate", *lines)
    assert (reply.status, reply.reason) == (401, reason)


@pytest.mark.parametrize("spelling", ["bearer", "BEARER", "Bearer", "bEARER  "])
async def test_the_scheme_is_case_insensitive(gate: Gate, issuer: Issuer, spelling: str) -> None:
    """RFC 9110, section 11.1 requires this. Several spaces may follow the scheme."""
    line = f"Authorization:   {spelling} {issuer.mint()}  "
    assert (await ask(gate.address, "GET /verify HTTP/1.1", "Host: gate", line)).status == 200


async def test_a_denial_has_its_reason(gate: Gate, issuer: Issuer) -> None:
    """It is in the challenge (RFC 6750, section 3), and its code is in a header of its own."""
    reply = await ask(
        gate.address, "GET /verify HTTP/1.1", "Host: gate", bearer(issuer.mint(audience="other"))
    )
    assert (reply.status, reply.reason) == (401, "audience_mismatch")
    assert reply.value("WWW-Authenticate") == (
        'Bearer realm="authgate", error="invalid_token", '
        'error_description="the token is for a different audience"'
    )


async def test_a_request_without_credential_gets_no_error_code(gate: Gate) -> None:
    """RFC 6750, section 3.1 requires this."""
    reply = await ask(gate.address, "GET /verify HTTP/1.1", "Host: gate")
    assert reply.value("WWW-Authenticate") == 'Bearer realm="authgate"'


async def test_a_known_identity_without_permission_gets_403(gate: Gate, issuer: Issuer) -> None:
    """The error is insufficient_scope, because another token of the same user would not help."""
    reply = await ask(
        gate.address, "GET /policies/billing/verify HTTP/1.1", "Host: gate", bearer(issuer.mint())
    )
    assert (reply.status, reply.reason) == (403, "not_allowed")
    assert 'error="insufficient_scope"' in reply.value("WWW-Authenticate")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /verify HTTP/1.1", 401),
        ("HEAD /verify HTTP/1.1", 401),
        ("GET /elsewhere HTTP/1.1", 404),
        ("GET /verify HTTP/one", 400),
        (f"GET /verify/{'a' * 70_000} HTTP/1.1", 431),
    ],
)
async def test_every_denial_is_empty_and_has_no_identity(gate: Gate, line: str, status: int) -> None:
    """nginx would close its connection to the gate after a body. No cache may store a response."""
    reply = await ask(gate.address, line, "Host: gate", "Connection: close")
    assert reply.status == status
    assert reply.value("Content-Length") == "0"
    assert reply.value("Cache-Control") == "no-store"
    assert reply.values("Content-Type") == []
    assert not [name for name, _ in reply.lines if name.startswith(IDENTITY)]
