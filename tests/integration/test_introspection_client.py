"""The introspection client with real HTTP servers: client authentication, discovery and failures."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.dev.compact import JsonObject
from authgate.http_proxy import ProxyEnvironment
from authgate.keys.fetch import HTTPFetcher
from authgate.keys.introspection import ClientAuthSettings, IntrospectionClient
from tests.support.authorization_server import CLIENT, INTROSPECT, SECRET, AuthorizationServer
from tests.support.clock import FakeClock
from tests.support.embedded_server import EmbeddedServer
from tests.support.faults import (
    Answer,
    CutOff,
    Delay,
    Drop,
    Fault,
    Flood,
    Hold,
    broken_json,
    failing,
    html,
    json_answer,
    redirect,
)
from tests.support.process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

TOKEN = "gho_opaque.secret-token"
ACTIVE: JsonObject = {"sub": "jane", "aud": "my-app"}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The file with the client secret, with the line break that editors add."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def client(
    settings: ClientAuthSettings, clock: FakeClock | None = None, **members: Any
) -> IntrospectionClient:
    """Return a client with this authentication."""
    given: dict[str, Any] = {"endpoint": None, "issuer": None, "timeout": 30.0, "ca": None, **members}
    return IntrospectionClient(
        settings,
        clock or FakeClock(now=time.time()),
        name="opaque",
        fetcher=HTTPFetcher(30.0),
        proxies=ProxyEnvironment({}),
        **given,
    )


def basic(secret: Path, method: Any = "client_secret_basic") -> ClientAuthSettings:
    """Return client authentication with a secret."""
    return ClientAuthSettings(method=method, client_id=CLIENT, secret_file=secret)


@asynccontextmanager
async def serving(**members: Any) -> AsyncIterator[tuple[AuthorizationServer, EmbeddedServer]]:
    """Run an authorization server with one active token."""
    async with EmbeddedServer() as server:
        site = AuthorizationServer(server.url, **members)
        site.tokens[TOKEN] = ACTIVE
        server.add(site)
        yield site, server
        server.faults.clear()


@asynccontextmanager
async def closing(made: IntrospectionClient) -> AsyncIterator[IntrospectionClient]:
    """Close the client at the end."""
    try:
        yield made
    finally:
        await made.close()


async def _eventually(holds: Callable[[], bool]) -> None:
    """Returns once `holds` does."""

    async def held() -> bool:
        return holds()

    await until(held, within=30)


async def error_of(made: IntrospectionClient) -> ApiError:
    """Return the error of a request. It must not contain a secret."""
    with pytest.raises(ApiError) as caught:
        await made.introspect(TOKEN)
    assert caught.value.__context__ is None
    for text in (str(caught.value), repr(caught.value)):
        assert TOKEN not in text
        assert SECRET not in text
    return caught.value


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_authenticates(secret: Path, method: Any) -> None:
    """The secret is form-encoded in Basic (RFC 6749, section 2.3.1), and is a field of the form in post."""
    async with (
        serving() as (site, _),
        closing(client(basic(secret, method), endpoint=site.url + INTROSPECT)) as made,
    ):
        assert await made.introspect(TOKEN) == {"active": True, **ACTIVE}
        assert await made.introspect("unknown") is None
        assert site.forms[0]["token"] == TOKEN
        assert site.forms[0]["token_type_hint"] == "access_token"
        assert ("client_secret" in site.forms[0]) == (method == "client_secret_post")


async def test_a_changed_secret_is_used_with_the_next_request(secret: Path) -> None:
    """A rejected secret is an error of authgate's credentials. If the file disappears, the last secret is used."""
    async with serving() as (site, _), closing(client(basic(secret), endpoint=site.url + INTROSPECT)) as made:
        assert await made.introspect(TOKEN)
        site.secret = "another secret"
        error = await error_of(made)
        assert error.kind is ApiErrorKind.UNAUTHORIZED
        assert "authgate's own client credentials (401 invalid_client)" in str(error)
        secret.write_text(site.secret)
        assert await made.introspect(TOKEN)
        secret.unlink()
        assert await made.introspect(TOKEN)


async def test_a_missing_secret_is_reported(tmp_path: Path) -> None:
    """No request is sent without the secret. The file is read as soon as it exists."""
    file = tmp_path / "later"
    async with (
        serving() as (site, server),
        closing(client(basic(file), endpoint=site.url + INTROSPECT)) as made,
    ):
        error = await error_of(made)
        assert error.kind is ApiErrorKind.UNAUTHORIZED
        assert str(file) in str(error)
        file.write_text("\n")
        assert "no usable secret" in str(await error_of(made))
        assert server.counts[INTROSPECT] == 0
        file.write_text(SECRET)
        assert await made.introspect(TOKEN)


async def test_a_signed_assertion_authenticates(tmp_path: Path) -> None:
    """Each request has a new JWT (RFC 7523) for the issuer or the endpoint, signed with the file's current key."""
    file = tmp_path / "key.pem"
    key = _key(file)
    settings = ClientAuthSettings(method="private_key_jwt", client_id=CLIENT, key_file=file, key_id="one")
    async with serving(key=key.public_key()) as (site, _):
        places: tuple[dict[str, Any], ...] = ({"endpoint": site.url + INTROSPECT}, {"issuer": site.url})
        for where in places:
            async with closing(client(settings, **where)) as made:
                assert await made.introspect(TOKEN)
                assert await made.introspect(TOKEN)
        async with closing(client(settings, issuer=site.url)) as made:
            assert await made.introspect(TOKEN)
            site.key = _key(file).public_key()
            assert await made.introspect(TOKEN)
            file.write_text("not a key")
            assert await made.introspect(TOKEN)
    assert len(site.seen_ids) == 7


async def test_a_certificate_authenticates(tmp_path: Path) -> None:
    """The certificate is presented in TLS (RFC 8705), and the server's must be trusted."""
    authority, clients = trustme.CA(), trustme.CA()
    own = clients.issue_cert("authgate.example.com")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    own.cert_chain_pems[0].write_to_path(cert)
    own.private_key_pem.write_to_path(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    site = AuthorizationServer("", secret=None)
    site.tokens[TOKEN] = ACTIVE
    settings = ClientAuthSettings(method="tls_client_auth", client_id=CLIENT, key_file=key, cert_file=cert)
    ca = authority.cert_pem.bytes()
    async with _tls_server(site, context) as url:
        async with closing(client(settings, endpoint=url + INTROSPECT, ca=ca)) as made:
            assert await made.introspect(TOKEN)
        async with closing(client(settings, endpoint=url + INTROSPECT, ca=clients.cert_pem.bytes())) as made:
            error = await error_of(made)
            assert error.kind is ApiErrorKind.UNREACHABLE
            assert "set certificateAuthority" in str(error)
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        async with closing(client(basic(secret), endpoint=url + INTROSPECT, ca=ca)) as made:
            assert (await error_of(made)).kind is ApiErrorKind.UNREACHABLE


FAULTS: dict[str, tuple[Fault, ApiErrorKind]] = {
    "500": (failing(500), ApiErrorKind.SERVER_ERROR),
    "503": (failing(503, retry_after=7), ApiErrorKind.SERVER_ERROR),
    "404": (failing(404), ApiErrorKind.BAD_ANSWER),
    "400": (json_answer({"error": "invalid_request"}, 400), ApiErrorKind.BAD_ANSWER),
    "400-client": (json_answer({"error": "invalid_client"}, 400), ApiErrorKind.UNAUTHORIZED),
    "401": (failing(401), ApiErrorKind.UNAUTHORIZED),
    "403": (failing(403), ApiErrorKind.FORBIDDEN),
    "429": (failing(429, retry_after=7), ApiErrorKind.RATE_LIMITED),
    "201": (Answer(201, b'{"active":true}'), ApiErrorKind.BAD_ANSWER),
    "204": (Answer(204), ApiErrorKind.BAD_ANSWER),
    "redirect": (redirect("/elsewhere"), ApiErrorKind.BAD_ANSWER),
    "redirect-307": (redirect("/elsewhere", 307), ApiErrorKind.BAD_ANSWER),
    "html": (html(), ApiErrorKind.BAD_ANSWER),
    "empty": (Answer(200), ApiErrorKind.BAD_ANSWER),
    "broken-json": (broken_json(), ApiErrorKind.BAD_ANSWER),
    "list": (Answer(200, b'[{"active":true}]'), ApiErrorKind.BAD_ANSWER),
    "no-active": (json_answer({"sub": "jane"}), ApiErrorKind.BAD_ANSWER),
    "active-text": (json_answer({"active": "true", "sub": "jane"}), ApiErrorKind.BAD_ANSWER),
    "active-number": (json_answer({"active": 1, "sub": "jane"}), ApiErrorKind.BAD_ANSWER),
    "active-null": (json_answer({"active": None}), ApiErrorKind.BAD_ANSWER),
    "active-twice": (Answer(200, b'{"active":false,"active":true}'), ApiErrorKind.BAD_ANSWER),
    "100-mb": (Flood(100_000_000), ApiErrorKind.BAD_ANSWER),
    "endless": (Flood(), ApiErrorKind.BAD_ANSWER),
    "hangs": (Hold(), ApiErrorKind.TIMEOUT),
    "slow": (Delay(5), ApiErrorKind.TIMEOUT),
    "cut-off": (CutOff(), ApiErrorKind.BAD_ANSWER),
    "dropped": (Drop(), ApiErrorKind.UNREACHABLE),
}


@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_failure_is_never_a_verdict(secret: Path, fault: Fault, kind: ApiErrorKind) -> None:
    """Every failure has its kind of error, and the next request succeeds."""
    limit = 1.0 if kind is ApiErrorKind.TIMEOUT else 30.0
    async with (
        serving() as (site, server),
        closing(client(basic(secret), endpoint=site.url + INTROSPECT, timeout=limit)) as made,
    ):
        server.faults.set(INTROSPECT, fault)
        error = await error_of(made)
        assert error.kind is kind
        assert error.retry_after == (7 if isinstance(fault, Answer) and "Retry-After" in fault.headers else 0)
        assert server.counts["/elsewhere"] == 0
        server.faults.clear()
        assert await made.introspect(TOKEN)


async def test_the_endpoint_is_discovered(secret: Path) -> None:
    """The document must have exactly this issuer. While discovery fails, the last endpoint is used."""
    clock = FakeClock()
    async with serving() as (site, server), closing(client(basic(secret), clock, issuer=site.url)) as made:
        site.discovery["issuer"] = "https://other.example"
        assert "its issuer is 'https://other.example'" in str(await error_of(made))
        site.discovery["issuer"] = site.url
        assert "its issuer is" in str(await error_of(made))  # discovery is not repeated for every request
        clock.advance(5)
        assert (
            await asyncio.gather(*(made.introspect(TOKEN) for _ in range(3)))
            == [{"active": True, **ACTIVE}] * 3
        )
        assert server.counts["/.well-known/openid-configuration"] == 2
        server.faults.set("/.well-known/openid-configuration", failing(500))
        clock.advance(300)
        assert await made.introspect(TOKEN)
        await _eventually(lambda: server.counts["/.well-known/openid-configuration"] == 3)


async def test_a_discovery_that_hangs_delays_no_request_to_a_known_endpoint(secret: Path) -> None:
    """The issuer can be down while the endpoint answers; a new endpoint is used when discovery has ended."""
    clock = FakeClock(now=time.time())
    async with (
        serving() as (site, server),
        serving() as (other, _),
        closing(client(basic(secret), clock, issuer=site.url)) as made,
    ):
        assert await made.introspect(TOKEN)
        server.faults.set("/.well-known/openid-configuration", Hold())
        clock.advance(300)
        for _ in range(5):
            assert await made.introspect(TOKEN) == {"active": True, **ACTIVE}
        await _eventually(lambda: server.counts["/.well-known/openid-configuration"] == 2)
        site.discovery["introspection_endpoint"] = other.url + INTROSPECT
        server.faults.clear()
        await _eventually(lambda: made.endpoint.startswith(other.url))
        assert await made.introspect(TOKEN) == {"active": True, **ACTIVE}
        assert len(other.forms) == 1


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_a_host_that_cannot_be_a_name_is_an_outage(secret: Path, host: str) -> None:
    """An issuer could advertise it; the resolver reports it by a UnicodeError."""
    async with (
        serving() as (site, _),
        closing(client(basic(secret), issuer=site.url)) as made,
    ):
        site.discovery["introspection_endpoint"] = f"https://{host}/introspect"
        error = await error_of(made)
        assert error.kind is ApiErrorKind.UNREACHABLE
        assert "cannot be resolved" in str(error)


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        1,
        "",
        "/introspect",
        "http://login.example.com/introspect",
        "http://a:b@127.0.0.1/",
        "file:///etc",
    ],
)
async def test_an_invalid_advertised_endpoint_is_rejected(secret: Path, endpoint: object) -> None:
    """Tokens are sent only to an https URL or to loopback."""
    async with serving() as (site, server), closing(client(basic(secret), issuer=site.url)) as made:
        site.discovery["introspection_endpoint"] = endpoint
        assert "introspection_endpoint" in str(await error_of(made))
        assert server.counts[INTROSPECT] == 0


def _key(file: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(65537, 2048)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


@asynccontextmanager
async def _tls_server(site: AuthorizationServer, context: ssl.SSLContext) -> AsyncIterator[str]:
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await site.respond(request) or web.Response(status=404)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    where = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await where.start()
    try:
        [(host, port, *_)] = runner.addresses
        yield f"https://{host}:{port}"
    finally:
        await runner.cleanup()
