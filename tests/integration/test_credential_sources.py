"""Tokens in other places than `Authorization`."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from tests.support.gate import AUDIENCE
from tests.support.logs import configured
from tests.support.service import knowing, running
from tests.support.tokens import padded_jwt

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
    {"basic": {"usernames": ["oauth2"]}},
]
PLACES = {
    "Authorization": [("Authorization", f"Bearer {TOKEN}")],
    "a Basic password": [("Authorization", f"Basic {base64.b64encode(f'oauth2:{TOKEN}'.encode()).decode()}")],
    "a header": [("X-Token", TOKEN)],
    "a header with a scheme": [("X-Forwarded-Authorization", f"bearer {TOKEN}")],
    "a cookie": [("Cookie", f"theme=dark; access_token={TOKEN}")],
    "the query": [("X-Original-URI", f"/a?access_token={TOKEN}&b=1"), ("X-Original-Method", "GET")],
    "a WebSocket protocol": [("Sec-WebSocket-Protocol", f"{PROTOCOL}, chat")],
}
NAMES = {
    "Authorization": "Authorization, X-Token",
    "a Basic password": "Authorization, X-Token",
    "a header with a scheme": "X-Token, X-Forwarded-Authorization",
    "a cookie": "X-Token, cookie",
    "the query": "X-Token, query parameter",
    "a WebSocket protocol": "X-Token, WebSocket protocol",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate() -> AsyncIterator[Gate]:
    """A gate that reads tokens from every source."""
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
async def test_a_token_is_read_from_every_source(gate: Gate, place: str) -> None:
    """Each configured source is read, and the forwarded header no longer holds the token."""
    answer = await gate.request(headers=PLACES[place])
    assert (answer.status, answer.value("X-Auth-Request-User")) == (200, "corp:ada")
    assert not any(TOKEN in value or PROTOCOL in value for _, value in answer.headers)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", [name for name in PLACES if name != "a header"])
async def test_tokens_in_two_sources_are_refused(gate: Gate, place: str) -> None:
    """Two tokens in one request are two credentials, even if they are equal. The answer names their places."""
    answer = await gate.request(headers=PLACES[place] + PLACES["a header"])
    assert answer.verdict == (401, "multiple_credentials")
    assert f'more than one credential: {NAMES[place]}"' in answer.value("WWW-Authenticate")


SECOND = {
    "a cookie in the value of another": [("Cookie", f"x=1 access_token=EVIL; access_token={TOKEN}")],
    "a cookie after a comma": [("Cookie", f"x=1,access_token=EVIL; access_token={TOKEN}")],
    "a cookie in quotes": [("Cookie", f'x="1"access_token=EVIL; access_token={TOKEN}')],
    "a cookie in another case": [("Cookie", f"Access_Token=EVIL; access_token={TOKEN}")],
    "an encoded cookie": [("Cookie", f"%61ccess_token=EVIL; access_token={TOKEN}")],
    "a cookie alone, in another case": [("Cookie", "ACCESS_TOKEN=EVIL")],
    "a cookie beside Authorization": [("Cookie", "$access_token=EVIL"), ("Authorization", f"Bearer {TOKEN}")],
    "a parameter after a semicolon": [("X-Original-URI", f"/?a=1;access_token=EVIL&access_token={TOKEN}")],
    "a parameter that is an array": [("X-Original-URI", f"/?access_token[]=EVIL&access_token={TOKEN}")],
    "a parameter encoded twice": [("X-Original-URI", f"/?%2561ccess_token=EVIL&access_token={TOKEN}")],
    "a parameter after a plus": [("X-Original-URI", f"/?+access_token=EVIL&access_token={TOKEN}")],
    "a header with underscores": [("X_Token", "EVIL"), ("X-Token", TOKEN)],
    "a WebSocket protocol in another case": [
        ("Sec-WebSocket-Protocol", f"{PROTOCOL}, Base64URL.bearer.authorization.k8s.io.RVZJTA, chat")
    ],
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("headers", SECOND.values(), ids=SECOND)
async def test_a_possible_second_token_is_refused(gate: Gate, headers: list[tuple[str, str]]) -> None:
    """Otherwise the gate could verify one token while the app reads another."""
    answer = await gate.request(headers=headers)
    assert answer.verdict == (401, "credential_ambiguous")
    assert 'error="invalid_request"' in answer.value("WWW-Authenticate")
    assert answer.headers_from("X-Auth-") == [("X-Auth-Reason", answer.value("X-Auth-Reason"))]
    assert not any("EVIL" in value for _, value in answer.headers)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_basic_source_asks_for_a_password(gate: Gate) -> None:
    """Every 401 has both challenges. Other Basic credentials are refused, as without the source."""
    bearer, password = PLACES["Authorization"][0], PLACES["a Basic password"][0]
    other = ("Authorization", "Basic Z2l0OnNlY3JldA==")
    answers = {
        "no_credential": await gate.request(),
        "scheme_not_bearer": await gate.request(headers=[other]),
        "multiple_credentials": await gate.request(headers=[bearer, password]),
    }
    for reason, answer in answers.items():
        assert answer.verdict == (401, reason)
        challenge = 'Basic realm="authgate", charset="UTF-8", Bearer realm="authgate"'
        assert answer.value("WWW-Authenticate").startswith(challenge)
    joined = await gate.request(headers=[("Authorization", f"{password[1]}, {bearer[1]}")])
    assert joined.verdict == (401, "multiple_credentials")


async def test_an_anonymous_path_refuses_a_possible_token() -> None:
    """The gate finds no token to check, but the app might use one."""
    document = {
        "jwt": [knowing(ISSUER)],
        "credential": {"sources": EVERYWHERE},
        "policies": {"default": {"anonymous": ["/open"]}},
        "server": {"proxy": "nginx"},
    }
    request = [("X-Original-URI", "/open"), ("X-Original-Method", "GET")]
    async with running(document) as open_gate:
        assert (await open_gate.request(headers=[*request, ("Cookie", "theme=dark")])).status == 200
        assert (await open_gate.request(headers=[*request, ("Cookie", "Access_Token=EVIL")])).verdict == (
            401,
            "credential_ambiguous",
        )


BENIGN = {
    "cookies of analytics": "_ga=GA1.2.1234.1700; _gid=GA1.2.1; access_token_hint=1",
    "an escaped URL": "next=%2Fa%3Fb%3D1%26access_token%3D2",
    "escaped JSON": "prefs=%7B%22a%22%3A1%7D",
    "base64": "session=YWNjZXNzX3Rva2Vu==",
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cookies", BENIGN.values(), ids=BENIGN)
async def test_ordinary_cookies_are_allowed_next_to_a_token(gate: Gate, cookies: str) -> None:
    """They are forwarded unchanged."""
    answer = await gate.request(headers=[("Cookie", f"{cookies}; access_token={TOKEN}")])
    assert (answer.status, answer.value("X-Auth-Forward-Cookie")) == (200, cookies)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_answer_has_the_headers_without_tokens(gate: Gate) -> None:
    """The proxy gets the cookies, the URI and the protocols to forward."""
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
async def test_a_denial_has_no_headers_of_the_request(gate: Gate) -> None:
    """Only a 200 has the headers to forward."""
    answer = await gate.request("rubbish", headers=[("Cookie", "theme=dark")])
    assert (answer.status, answer.headers_from("X-Auth-Forward-")) == (401, [])


@pytest.mark.asyncio(loop_scope="module")
async def test_no_source_is_logged(gate: Gate) -> None:
    """The audit log of all decisions contains no token from any source."""
    stream = configured()
    for headers in PLACES.values():
        await gate.request(headers=headers)
    assert '"authenticated"' in stream.getvalue()
    for secret in (TOKEN, PROTOCOL, PLACES["a Basic password"][0][1]):
        assert secret not in stream.getvalue()


@pytest.mark.parametrize("place", [name for name in PLACES if name != "Authorization"])
async def test_a_source_that_is_not_configured_is_not_read(place: str) -> None:
    """Without `credential.sources` only `Authorization` is a credential."""
    async with running({"jwt": [knowing(ISSUER)]}) as plain:
        reason = "scheme_not_bearer" if place == "a Basic password" else "no_credential"
        assert (await plain.request(headers=PLACES[place])).verdict == (401, reason)


async def test_a_padded_token_is_accepted_only_from_its_source() -> None:
    """A cached verdict for one source is not used for another."""
    sources = [{"header": "X-Amzn-Oidc-Data", "padded": True}, {"header": "X-Token"}]
    document = {"jwt": [knowing(ISSUER)], "credential": {"sources": sources}}
    claims = {"iss": ISSUER.url, "aud": AUDIENCE, "sub": "ada", "jti": "j", "exp": int(time.time()) + 3600}
    token = padded_jwt(ISSUER.key, claims)
    stripped = ".".join(part.rstrip("=") for part in token.split("."))
    async with running(document) as padding:
        for _ in range(2):
            accepted = await padding.request(headers=[("X-Amzn-Oidc-Data", token)])
            assert (accepted.status, accepted.value("X-Auth-Request-User")) == (200, "corp:ada")
            for headers in ([("X-Token", token)], [("Authorization", f"Bearer {token}")]):
                assert (await padding.request(headers=headers)).verdict in {
                    (401, "credential_malformed"),
                    (401, "token_malformed"),
                }
            assert (await padding.request(stripped)).verdict == (401, "signature_invalid")
            plain = await padding.request(headers=[("X-Amzn-Oidc-Data", TOKEN)])
            assert plain.status == 200


FOR_THE_APP = {
    "another token": "Bearer app-token",
    "a password": "Basic YXBwOnNlY3JldA==",
    "a token of the issuer": f"Bearer {TOKEN}",
    "no credential": "",
}
IGNORING = {
    "jwt": [knowing(ISSUER)],
    "credential": {"authorization": "ignore", "sources": [{"header": "X-Token"}]},
    "policies": {"default": {"anonymous": ["/open"]}},
    "server": {"proxy": "nginx"},
    "log": {"audit": "all"},
}


@pytest.mark.parametrize("value", FOR_THE_APP.values(), ids=FOR_THE_APP)
async def test_an_ignored_authorization_is_neither_read_nor_counted(value: str) -> None:
    """The token in the source decides. Without it, the request has no credential. Two tokens are refused."""
    app = [("Authorization", value)]
    opened = [*app, ("X-Original-URI", "/open"), ("X-Original-Method", "GET")]
    async with running(IGNORING) as ignoring:
        with_token = await ignoring.request(headers=[*app, *PLACES["a header"]])
        assert (with_token.status, with_token.value("X-Auth-Request-User")) == (200, "corp:ada")
        assert (await ignoring.request(headers=app)).verdict == (401, "no_credential")
        assert (await ignoring.request(headers=opened)).status == 200
        twice = await ignoring.request(headers=[*app, *PLACES["a header"], *PLACES["a header"]])
        assert "X-Token (2 times)" in twice.value("WWW-Authenticate")


async def test_the_log_names_the_places_where_a_token_is_read() -> None:
    """This includes requests without a token, so that users see why `Authorization` is ignored."""
    stream = configured()
    async with running(IGNORING) as ignoring:
        await ignoring.request(headers=PLACES["Authorization"])
        await ignoring.request(headers=[("X-Token", '"quoted"')])
    assert "authgate reads it from X-Token" in stream.getvalue()
    assert "X-Token: the token is quoted" in stream.getvalue()
    assert TOKEN not in stream.getvalue()
