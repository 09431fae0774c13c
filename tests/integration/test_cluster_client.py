"""The client of the Kubernetes API, with servers that respond correctly, wrongly, late or not at all."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import traceback
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from authgate.cluster.api import ApiError, NotAuthenticated, ReviewedUser
from authgate.cluster.api import ApiErrorKind as Kind
from authgate.cluster.client import ConnectionSettings
from tests.support.cluster_client import OWN, REVIEWED, by_kubeconfig, connected, jwt_of, refused
from tests.support.fake_api import (
    ALICE,
    FakeAPI,
    Kubeconfig,
    RawServer,
    always,
    read_request,
    review,
    status_object,
)

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


async def test_a_review_posts_the_token_and_the_audiences(tmp_path: Path) -> None:
    """The body is a TokenReview."""
    async with FakeAPI(always(ALICE, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        await client.review_token(REVIEWED, ("app", "other"))
    assert api.received[0].json()["spec"] == {"token": REVIEWED, "audiences": ["app", "other"]}


async def test_a_review_uses_the_v1_api_and_the_own_token(tmp_path: Path) -> None:
    """The request has the gate's own token in its Authorization header."""
    async with FakeAPI(always(ALICE, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        await client.review_token(REVIEWED, ("app",))
    sent = api.received[0]
    assert (sent.method, sent.target, sent.headers["Authorization"]) == ("POST", PATH, f"Bearer {OWN}")


async def test_a_review_without_audiences_is_never_sent(tmp_path: Path) -> None:
    """It is a programming error."""
    async with FakeAPI(always(ALICE)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        with pytest.raises(ValueError, match="without audiences"):
            await client.review_token(REVIEWED, ())
    assert api.received == []


async def test_the_path_of_the_server_url_is_kept(tmp_path: Path) -> None:
    """A management proxy has a URL with a path. Each request's own path is appended to it."""
    async with (
        FakeAPI(always(b"{}")) as api,
        connected(by_kubeconfig(tmp_path, f"{api.url}/k8s/c-1/")) as client,
    ):
        await client.get("/openid/v1/jwks", limit=10)
    assert api.received[0].target == "/k8s/c-1/openid/v1/jwks"


async def test_cookies_are_not_kept(tmp_path: Path) -> None:
    """A cookie that the server sets is not sent back."""
    async with FakeAPI(always(b"{}", headers={"Set-Cookie": "id=1; Path=/"})) as api:
        # By name, because aiohttp never keeps cookies for an IP address.
        access = by_kubeconfig(tmp_path, f"http://localhost:{api.port}")
        async with connected(access) as client:
            await client.get("/a", limit=10)
            await client.get("/b", limit=10)
    assert "Cookie" not in api.received[1].headers


async def test_a_connection_is_reused(tmp_path: Path) -> None:
    """Consecutive reviews share a connection."""
    async with FakeAPI(always(ALICE, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        await client.review_token(REVIEWED, ("app",))
        await client.review_token(REVIEWED, ("app",))
    assert len({request.connection for request in api.received}) == 1


async def test_the_proxy_of_a_kubeconfig_is_used(tmp_path: Path) -> None:
    """Requests are sent to its proxy-url."""
    async with FakeAPI(always(b"{}")) as proxy:
        config = Kubeconfig("http://127.0.0.1:1", cluster={"proxy-url": proxy.url}, user={"token": OWN})
        access = ConnectionSettings(kubeconfig=config.write(tmp_path / "kubeconfig"))
        async with connected(access) as client:
            await client.get("/x", limit=10)
    assert proxy.received[0].target == "http://127.0.0.1:1/x"


async def test_an_authenticated_token_has_a_user_and_audiences(tmp_path: Path) -> None:
    """Both are those of the response."""
    async with FakeAPI(always(ALICE, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        answer = await client.review_token(REVIEWED, ("app",))
    assert answer == ReviewedUser("alice", "", ("staff",), (), ("app",))


async def test_a_rejected_token_has_the_servers_error(tmp_path: Path) -> None:
    """The token is removed from the error."""
    said = review(error=f"[invalid bearer token, cannot use {REVIEWED}]")
    async with FakeAPI(always(said, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        answer = await client.review_token(REVIEWED, ("app",))
    assert answer == NotAuthenticated("[invalid bearer token, cannot use [token]]")


async def test_a_get_accepts_any_media_type(tmp_path: Path) -> None:
    """A GET does not ask for application/json, because the real server then answers a key set request with 406."""
    async with FakeAPI(always(b"{}")) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        await client.get("/openid/v1/jwks", limit=10)
    assert api.received[0].headers["Accept"] == "*/*"


async def test_a_get_returns_the_body(tmp_path: Path) -> None:
    """The body is unchanged. It may be as long as the limit."""
    async with FakeAPI(always(b"0123456789")) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        assert await client.get("/openid/v1/jwks", limit=10) == b"0123456789"


async def test_concurrent_reviews_get_their_own_responses(tmp_path: Path) -> None:
    """They are not confused with each other."""

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        name = json.loads(await request.read())["spec"]["token"]
        return web.json_response(review(authenticated=True, user={"username": name}))

    async with FakeAPI(echo) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        answers = await asyncio.gather(*(client.review_token(f"t{n}", ("app",)) for n in range(30)))
    assert [answer.username for answer in answers if isinstance(answer, ReviewedUser)] == [
        f"t{n}" for n in range(30)
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (202, Kind.BAD_ANSWER),
        (204, Kind.BAD_ANSWER),
        (302, Kind.BAD_ANSWER),
        (304, Kind.BAD_ANSWER),
        (307, Kind.BAD_ANSWER),
        (400, Kind.BAD_ANSWER),
        (401, Kind.UNAUTHORIZED),
        (403, Kind.FORBIDDEN),
        (404, Kind.BAD_ANSWER),
        (429, Kind.RATE_LIMITED),
        (500, Kind.SERVER_ERROR),
        (503, Kind.SERVER_ERROR),
    ],
)
async def test_an_error_status_is_an_error(tmp_path: Path, status: int, kind: Kind) -> None:
    """Every status except 200 and 201 has its kind of error, whatever the body contains."""
    async with FakeAPI(always(ALICE, status)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        assert (await refused(client)).kind is kind


@pytest.mark.parametrize("status", [429, 503])
async def test_the_error_has_the_servers_retry_after(tmp_path: Path, status: int) -> None:
    """authgate forwards it to its own clients."""
    answer = always(b"", status, headers={"Retry-After": "7"})
    async with FakeAPI(answer) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        assert (await refused(client)).retry_after == 7


@pytest.mark.parametrize(
    "body",
    ["<html>login</html>", "", "[]", '{"kind":"Status"}', '{"kind":"TokenReview"}', "[" * 100_000],
    ids=["html", "empty", "array", "kind", "no status", "deep"],
)
async def test_a_body_that_is_not_a_review_is_an_error(tmp_path: Path, body: str) -> None:
    """A 200 without a valid TokenReview is not a verdict."""
    async with FakeAPI(always(body)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        assert (await refused(client)).kind is Kind.BAD_ANSWER


async def test_a_403_names_the_missing_binding(tmp_path: Path) -> None:
    """The error names the role and the account."""
    own = jwt_of(sub="system:serviceaccount:auth:gate")
    answer = always(status_object("tokenreviews is forbidden"), 403)
    async with FakeAPI(answer) as api, connected(by_kubeconfig(tmp_path, api.url, token=own)) as client:
        detail = (await refused(client)).detail
    assert detail == (
        "not allowed to create tokenreviews: bind the ClusterRole system:auth-delegator to "
        "system:serviceaccount:auth:gate: tokenreviews is forbidden"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(tmp_path: Path, status: int) -> None:
    """A redirect to another server is an error, and the other server receives nothing."""
    async with FakeAPI(always(ALICE)) as elsewhere:
        answer = always(b"", status, headers={"Location": elsewhere.url + PATH})
        async with FakeAPI(answer) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
            error = await refused(client)
            with pytest.raises(ApiError, match="redirect"):
                await client.get("/openid/v1/jwks", limit=10)
    assert (error.detail, elsewhere.received) == (
        "create tokenreviews: answered with a redirect, which is never followed",
        [],
    )


@pytest.mark.parametrize("status", [200, 500])
async def test_an_endless_response_is_cut_off(tmp_path: Path, status: int) -> None:
    """Only little more than the limit is read of 100 MB, and the connection is closed."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 100000000\r\n\r\n" % status)
        while sent < 100_000_000:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with RawServer(endless) as server, connected(by_kubeconfig(tmp_path, server.url)) as client:
        await refused(client)
    assert sent < 20_000_000


async def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    """One byte more than the limit is an error."""
    async with FakeAPI(always(b"0123456789")) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        with pytest.raises(ApiError, match="longer than 9 bytes") as caught:
            await client.get("/x", limit=9)
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + json.dumps(ALICE).encode(), Kind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", Kind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", Kind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Len", Kind.UNREACHABLE),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Kind.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", Kind.BAD_ANSWER),
        (b"", Kind.UNREACHABLE),
    ],
    ids=["short body", "short chunk", "bad chunk", "short head", "no HTTP", "long header", "nothing"],
)
async def test_a_broken_response_is_an_error(tmp_path: Path, answer: bytes, kind: Kind) -> None:
    """An incomplete response, or one that is not HTTP, is not a verdict."""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async with RawServer(broken) as server, connected(by_kubeconfig(tmp_path, server.url)) as client:
        assert (await refused(client)).kind is kind


@pytest.mark.parametrize(
    "begin",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"],
    ids=["nothing", "head", "body"],
)
async def test_an_incomplete_response_times_out(tmp_path: Path, begin: bytes) -> None:
    """The timeout covers the whole response, wherever it stops."""
    gone = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(begin)
        await reader.read()  # until the client gives up
        gone.set()

    async with (
        RawServer(slow) as server,
        connected(by_kubeconfig(tmp_path, server.url, timeout=0.1)) as client,
    ):
        assert (await refused(client)).kind is Kind.TIMEOUT
        await gone.wait()


async def test_a_client_can_be_created_while_the_server_is_down(tmp_path: Path) -> None:
    """Its requests fail with an error that reports the refused connection."""
    async with FakeAPI(always(ALICE)) as api:
        url = api.url
    async with connected(by_kubeconfig(tmp_path, url)) as client:
        error = await refused(client)
    assert error.kind is Kind.UNREACHABLE
    assert url in error.detail


async def test_a_closed_connection_is_replaced(tmp_path: Path) -> None:
    """If the server closes a reused connection, the review is sent again on a new one."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        body = json.dumps(ALICE).encode()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await read_request(reader)

    async with RawServer(once) as server, connected(by_kubeconfig(tmp_path, server.url)) as client:
        answers = [await client.review_token(REVIEWED, ("app",)) for _ in range(2)]
    assert (isinstance(answers[1], ReviewedUser), server.connections) == (True, 2)


async def test_a_reset_connection_is_replaced(tmp_path: Path) -> None:
    """The review is sent again, as for a closed connection."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        body = json.dumps(ALICE).encode()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readexactly(1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with RawServer(once) as server, connected(by_kubeconfig(tmp_path, server.url)) as client:
        answers = [await client.review_token(REVIEWED, ("app",)) for _ in range(2)]
    assert (isinstance(answers[1], ReviewedUser), server.connections) == (True, 2)


@pytest.mark.parametrize("call", ["review", "get"])
async def test_a_request_is_sent_at_most_twice(tmp_path: Path, call: str) -> None:
    """A server that closes every connection gets each request twice."""

    async def close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with RawServer(close) as server, connected(by_kubeconfig(tmp_path, server.url)) as client:
        with pytest.raises(ApiError, match="closed the connection without an answer"):
            await (client.get("/x", limit=10) if call == "get" else client.review_token(REVIEWED, ("app",)))
    assert server.connections == 2


async def test_no_token_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at level debug, no record has the reviewed token or the gate's own token."""
    with caplog.at_level(logging.DEBUG):
        async with FakeAPI(always(ALICE, 201)) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
            await client.review_token(REVIEWED, ("app",))
            api.answer = always(status_object(f"no {REVIEWED}"), 500)
            await refused(client)
    assert not [secret for secret in (*REVIEWED.split("."), OWN) if secret in caplog.text]


async def test_no_error_contains_a_token(tmp_path: Path) -> None:
    """Tokens that the server quotes are removed from the error's text, chain and traceback."""
    answer = always(status_object(f"cannot use {OWN} for {REVIEWED} or {REVIEWED.split('.')[1]}"), 403)
    async with FakeAPI(answer) as api, connected(by_kubeconfig(tmp_path, api.url)) as client:
        error = await refused(client)
    shown = "".join(traceback.format_exception(error)) + error.detail
    assert not [secret for secret in (*REVIEWED.split("."), OWN) if secret in shown]


async def test_errors_of_aiohttp_are_not_chained(tmp_path: Path) -> None:
    """They contain the request's headers, and so the gate's own token."""
    async with connected(by_kubeconfig(tmp_path, "http://127.0.0.1:1")) as client:
        error = await refused(client)
    assert (error.__cause__, error.__context__) == (None, None)
