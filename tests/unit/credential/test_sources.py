"""Sources of tokens in addition to `Authorization`, and the rest that is forwarded to the app."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.compose.sources import sources_of
from authgate.config import CredentialConfig, SourceConfig
from authgate.credential.bearer import PaddedCredential, parse_credential
from authgate.credential.sources import (
    AuthorizationSource,
    CookieSource,
    Found,
    HeaderSource,
    QuerySource,
    Source,
    Sources,
    WebSocketSource,
    describe_places,
)
from authgate.errors import Reason
from authgate.model import BearerToken, OriginalRequest, Rejected

UNKNOWN = OriginalRequest()
COOKIE = CookieSource(frozenset({b"session", b"token"}))
QUERY = QuerySource(frozenset({b"access_token"}))
BEARER_PROTOCOL = b"base64url.bearer.authorization.k8s.io."


def encoded(token: bytes) -> bytes:
    """The token as a subprotocol."""
    return BEARER_PROTOCOL + base64.urlsafe_b64encode(token).rstrip(b"=")


HEADERS = {
    "the token alone": (HeaderSource(b"x-token"), [b" abc "], (b"Bearer abc",)),
    "empty is ignored": (HeaderSource(b"x-token"), [b"", b"  "], ()),
    "twice": (HeaderSource(b"x-token"), [b"a", b"b"], (b"Bearer a", b"Bearer b")),
    "its scheme": (HeaderSource(b"x-token", b"Token"), [b"tOKEN  abc"], (b"Bearer abc",)),
    "another scheme stays, to be refused": (
        HeaderSource(b"x-token", b"Bearer"),
        [b"Basic abc"],
        (b"Basic abc",),
    ),
    "Bearer instead of its scheme": (HeaderSource(b"x-token", b"Token"), [b"bearer abc"], (b"Other",)),
    "a scheme alone": (HeaderSource(b"x-token", b"Bearer"), [b"Bearer"], (b"Bearer ",)),
    "padding": (HeaderSource(b"x-token", padded=True), [b" YQ==.YWI=.YQ== "], (b"Bearer YQ==.YWI=.YQ==",)),
}


@pytest.mark.parametrize(("source", "values", "found"), HEADERS.values(), ids=HEADERS)
def test_a_header(source: Source, values: list[bytes], found: tuple[bytes, ...]) -> None:
    """A header contains the token, or a scheme and the token."""
    headers = [(b"X-Token", value) for value in values] + [(b"X-Tokens", b"other")]
    assert source.read(headers, UNKNOWN) == Found(found)


COOKIES = {
    "among others": ([b"a=1; session=abc; b=2"], (b"Bearer abc",), "a=1; b=2"),
    "quoted": ([b'session="abc"'], (b"Bearer abc",), ""),
    "with an equals sign": ([b"session=abc="], (b"Bearer abc=",), ""),
    "empty is ignored and not forwarded": ([b'session=; token=""; a=1'], (), "a=1"),
    "twice": ([b"session=a; session=b"], (b"Bearer a", b"Bearer b"), ""),
    "both names": ([b"session=a; token=b"], (b"Bearer a", b"Bearer b"), ""),
    "two lines": ([b"a=1", b"session=abc"], (b"Bearer abc",), "a=1"),
    "a name with something before it": ([b"x-session=abc; mytoken=1"], (), "x-session=abc; mytoken=1"),
    "one quote": ([b'session="'], (b'Bearer "',), ""),
    "no pair": ([b"session; a"], (), "a"),
    "what a header cannot carry is dropped": ([b"a=\xe9; b=2"], (), "b=2"),
    "none": ([], (), ""),
}


@pytest.mark.parametrize(("lines", "values", "left"), COOKIES.values(), ids=COOKIES)
def test_a_cookie(lines: list[bytes], values: tuple[bytes, ...], left: str) -> None:
    """The named cookies are credentials, all others are forwarded."""
    found = COOKIE.read([(b"cookie", line) for line in lines], UNKNOWN)
    assert found == Found(values, (("X-Auth-Forward-Cookie", left),))


QUERIES = {
    "among others": ("/a", "x=1&access_token=abc&y=2", (b"Bearer abc",), "/a?x=1&y=2"),
    "alone": ("/a", "access_token=abc", (b"Bearer abc",), "/a"),
    "escaped": ("/a", "access%5Ftoken=a%2Db", (b"Bearer a-b",), "/a"),
    "a plus is a plus": ("/a", "access_token=a+b", (b"Bearer a+b",), "/a"),
    "twice": ("/a", "access_token=a&access_token=b", (b"Bearer a", b"Bearer b"), "/a"),
    "empty is ignored": ("/a", "access_token=&x", (), "/a?x"),
    "other escapes stay": ("/a%2Fb", "x=%41", (), "/a%2Fb?x=%41"),
    "raw bytes are escaped": ("/\xe9", "x=\xe9", (), "/%E9?x=%E9"),
    "beyond one byte": ("/\u20ac", "access_token=\u20ac", ("Bearer \u20ac".encode(),), "/%E2%82%AC"),
    "a value that is no token": ("/a", "access_token=%00", (b"Bearer \x00",), "/a"),
    "no query": ("/a", "", (), "/a"),
    "no known request": (None, "access_token=abc", (), ""),
}


@pytest.mark.parametrize(("path", "query", "values", "left"), QUERIES.values(), ids=QUERIES)
def test_a_query(path: str | None, query: str, values: tuple[bytes, ...], left: str) -> None:
    """The named parameters are credentials, encoded or not, and the URI without them is forwarded."""
    found = QUERY.read([], OriginalRequest("GET", path, None, query))
    assert found == Found(values, (("X-Auth-Forward-Uri", left),))


PROTOCOLS = {
    "beside another": ([encoded(b"abc") + b", chat"], (b"Bearer abc",), "chat"),
    "in a line of its own": ([b"chat", encoded(b"abc")], (b"Bearer abc",), "chat"),
    "alone, so that none could be answered": ([encoded(b"abc")], (b"Bearer ",), ""),
    "twice": ([encoded(b"a") + b"," + encoded(b"b") + b",chat"], (b"Bearer a", b"Bearer b"), "chat"),
    "padded": ([BEARER_PROTOCOL + b"YQ==, chat"], (b"Bearer ",), "chat"),
    "not canonical": ([BEARER_PROTOCOL + b"YR, chat"], (b"Bearer ",), "chat"),
    "the other alphabet": ([BEARER_PROTOCOL + b"+/+/, chat"], (b"Bearer ",), "chat"),
    "no base64": ([BEARER_PROTOCOL + b"!, chat"], (b"Bearer ",), "chat"),
    "empty": ([BEARER_PROTOCOL + b", chat"], (b"Bearer ",), "chat"),
    "others only": ([b"chat, v2"], (), "chat, v2"),
}


@pytest.mark.parametrize(("lines", "values", "left"), PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_websocket_protocol(lines: list[bytes], values: tuple[bytes, ...], left: str) -> None:
    """A bearer protocol with at least one other is a credential; one with a wrong encoding is malformed."""
    found = WebSocketSource().read([(b"Sec-WebSocket-Protocol", line) for line in lines], UNKNOWN)
    assert found == Found(values, (("X-Auth-Forward-Websocket-Protocol", left),))


AMBIGUOUS = {
    "a cookie": (COOKIE, b"cookie", b"x=1 token=EVIL; token=abc"),
    "a cookie without a token": (COOKIE, b"cookie", b"Token=EVIL"),
    "a cookie in another one's value": (COOKIE, b"cookie", b"token=abc; x=1,token=EVIL"),
    "a protocol in another case": (
        WebSocketSource(),
        b"sec-websocket-protocol",
        encoded(b"a").upper() + b", chat",
    ),
    "a protocol in quotes": (WebSocketSource(), b"sec-websocket-protocol", b'"' + encoded(b"a") + b'", chat'),
    "a protocol after another space": (
        WebSocketSource(),
        b"sec-websocket-protocol",
        b"chat,\x0b" + encoded(b"a"),
    ),
    "an underscore for a dash": (HeaderSource(b"x-token"), b"X_Token", b"EVIL"),
    "a dot for a dash": (HeaderSource(b"x-token"), b"x.token", b"EVIL"),
    "an underscore in the protocols' field": (WebSocketSource(), b"Sec_WebSocket-Protocol", b"chat"),
}


@pytest.mark.parametrize(("source", "field", "value"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_lookalike_of_a_credential_is_ambiguous(source: Source, field: bytes, value: bytes) -> None:
    """Whether or not the request has a token in the source itself."""
    assert Sources([source]).read([(field, value)], UNKNOWN).ambiguous


@pytest.mark.parametrize(
    ("path", "query"),
    [
        pytest.param("/a", "x=1;access_token=EVIL", id="semicolon"),
        pytest.param("/a", "ACCESS_TOKEN=EVIL", id="case"),
        pytest.param("/a;access_token=EVIL", "", id="path parameter"),
        pytest.param("/a%3Faccess_token=EVIL", "", id="escaped question mark"),
    ],
)
def test_a_lookalike_of_a_parameter_is_ambiguous(path: str, query: str) -> None:
    """In the query, and in a path that some servers decode or cut before they parse the query."""
    assert QUERY.read([], OriginalRequest("GET", path, None, query)).ambiguous


def test_headers_with_other_names_are_not_ambiguous() -> None:
    """Only names with the same CGI variable are lookalikes."""
    sources = Sources([HeaderSource(b"x-token"), COOKIE])
    headers = [
        (b"X-TOKEN", b"a"),
        (b"XToken", b"b"),
        (b"X--Token", b"b"),
        (b"X_Tokens", b"c"),
        (b"Cookie2", b"d"),
    ]
    assert not sources.read(headers, UNKNOWN).ambiguous


def test_all_sources_are_read_together() -> None:
    """Tokens from several sources are all returned, so that the request is rejected."""
    sources = Sources([HeaderSource(b"x-token"), COOKIE])
    headers = [(b"Authorization", b"Bearer a"), (b"X-Token", b"b"), (b"Cookie", b"session=c")]
    assert sources.read(headers, UNKNOWN).values == (b"Bearer a", b"Bearer b", b"Bearer c")


def test_headers_that_may_contain_a_token_are_secret() -> None:
    """No log may quote any part of the value of a header that is a source."""
    sources = Sources([HeaderSource(b"x-token"), COOKIE, QUERY])
    headers = [(b"Authorization", b"Bearer a"), (b"X-Token", b"b"), (b"Cookie", b"c=d"), (b"Accept", b"*/*")]
    assert sorted(sources.secrets(headers)) == [b"Bearer a", b"b", b"c=d"]


def test_an_ignored_authorization_is_no_credential_but_a_secret() -> None:
    """It belongs to the app: it is not read, and no log quotes it."""
    sources = Sources([HeaderSource(b"x-token")], authorization=None)
    headers = [(b"Authorization", b"Bearer a"), (b"X-Token", b"b"), (b"X_Tokens", b"c")]
    assert sources.read(headers, UNKNOWN) == Found((b"Bearer b",), places=("X-Token",))
    assert sorted(sources.secrets(headers)) == [b"Bearer a", b"b"]
    assert sources.places == "X-Token"


def test_places_are_named_without_values() -> None:
    """Each place appears once, with the number of its credentials."""
    sources = Sources([HeaderSource(b"x-token"), COOKIE, QUERY, WebSocketSource()])
    headers = [(b"Authorization", b"Bearer a"), (b"Authorization", b""), (b"X-Token", b"b")]
    headers += [(b"Cookie", b"session=c"), (b"Sec-WebSocket-Protocol", encoded(b"d") + b", chat")]
    found = sources.read(headers, OriginalRequest("GET", "/", None, "access_token=e"))
    assert (
        describe_places(found.places)
        == "Authorization (2 times), X-Token, cookie, query parameter, WebSocket protocol"
    )


PADDED = HeaderSource(b"x-token", padded=True)
WITH_PADDING = {
    "all segments": (b"YQ==.YWI=.YQ==", True),
    "the signature only": (b"YWJj.YWJj.YQ==", True),
    "no segment": (b"YWJj.YWJj.YWJj", False),
    "an opaque token": (b"YQ==", False),
    "four segments": (b"YQ==.YQ==.YQ==.YQ==", False),
    "three characters": (b"YQ===.YQ==.YQ==", False),
    "in the middle": (b"Y=Q=.YQ==.YQ==", False),
    "the other alphabet": (b"+/==.YQ==.YQ==", False),
    "white space": (b"YQ==. YQ==.YQ==", False),
}


@pytest.mark.parametrize(("token", "padded"), WITH_PADDING.values(), ids=WITH_PADDING)
def test_padding_is_allowed_in_a_jwt_of_that_source(token: bytes, padded: bool) -> None:
    """Anything else is a credential as any other, and so is the same token from another source."""
    headers = [(b"X-Token", token)]
    (found,) = PADDED.read(headers, UNKNOWN).values
    assert isinstance(found, PaddedCredential) is padded
    parsed = parse_credential([found], 1000)
    assert (isinstance(parsed, BearerToken) and parsed.padded) is padded
    (other,) = HeaderSource(b"x-token").read(headers, UNKNOWN).values
    plain = parse_credential([other], 1000)
    assert not isinstance(plain, BearerToken) or not plain.padded


def test_a_padded_token_is_as_long_as_any_other() -> None:
    """Its padding counts, too."""
    (value,) = PADDED.read([(b"x-token", b"YQ==.YWI=.YQ==")], UNKNOWN).values
    too_large = parse_credential([value], 13)
    assert isinstance(too_large, Rejected)
    assert too_large.reason is Reason.CREDENTIAL_TOO_LARGE
    assert isinstance(parse_credential([value], 14), BearerToken)


BASIC = AuthorizationSource(frozenset({b"oauth2", b"x-token-auth", "j\u00fcrgen".encode()}))


def basic(pair: bytes, scheme: bytes = b"Basic ") -> bytes:
    """The header of a user name and a password."""
    return scheme + base64.b64encode(pair)


PASSWORDS = {
    "a token": (basic(b"oauth2:a.b.c"), b"Bearer a.b.c"),
    "the other name": (basic(b"x-token-auth:abc"), b"Bearer abc"),
    "a name in UTF-8": (basic("j\u00fcrgen:abc".encode()), b"Bearer abc"),
    "white space and case": (b" " + basic(b"oauth2:abc", b"bASIC   ") + b" ", b"Bearer abc"),
    "the other alphabet is standard": (basic(b"oauth2:a~?~"), b"Bearer a~?~"),
    "a colon in the password": (basic(b"oauth2:a:b"), b"Bearer a:b"),
    "an empty password": (basic(b"oauth2:"), b"Bearer "),
    "a space before the password": (basic(b"oauth2: abc"), b"Bearer \x00abc"),
    "a space behind the password": (basic(b"oauth2:abc\t"), b"Bearer abc\x00"),
    "a comma in the password": (basic(b"oauth2:a,b"), b"Bearer a\x00b"),
    "a password in UTF-8": (basic("oauth2:\u00fc".encode()), "Bearer \u00fc".encode()),
    "two headers that a proxy has joined": (basic(b"oauth2:abc") + b", Bearer abc", b"Bearer ,"),
}
"""What a value is read as."""
NOT_READ = {
    "another name": basic(b"git:abc"),
    "a name in another case": basic(b"OAuth2:abc"),
    "a longer name": basic(b"oauth2 :abc"),
    "a name in Latin-1": basic("j\u00fcrgen:abc".encode("latin-1")),
    "no name": basic(b":abc"),
    "no colon": basic(b"oauth2"),
    "nothing": b"Basic ",
    "the scheme alone": b"Basic",
    "no padding": b"Basic " + base64.b64encode(b"oauth2:abcd").rstrip(b"="),
    "too much padding": basic(b"oauth2:ab") + b"=",
    "base64url": b"Basic " + base64.urlsafe_b64encode(b"oauth2:a~?~"),
    "bits after the end": b"Basic b2F1dGgyOmE=".replace(b"mE=", b"mF="),
    "no base64": b"Basic oauth2:abc",
    "text behind it": basic(b"oauth2:abc") + b" x",
    "a line break": basic(b"oauth2:abc") + b"\n",
    "Bearer": b"Bearer abc",
    "another scheme": basic(b"oauth2:abc", b"Basics "),
    "empty": b"",
}
"""Values that stay as they are: `Bearer` is parsed, and any other scheme is refused."""


@pytest.mark.parametrize(("value", "found"), PASSWORDS.values(), ids=PASSWORDS)
def test_a_basic_password_of_a_listed_user_is_a_token(value: bytes, found: bytes) -> None:
    """It is parsed as strictly as a Bearer token. Without a list of names, nothing changes."""
    assert BASIC.read([(b"Authorization", value)], UNKNOWN).values == (found,)
    assert AuthorizationSource().read([(b"Authorization", value)], UNKNOWN).values == (value,)


@pytest.mark.parametrize("value", NOT_READ.values(), ids=NOT_READ)
def test_any_other_credential_stays_as_it_is(value: bytes) -> None:
    """A wrong name or encoding is never guessed at."""
    assert BASIC.read([(b"Authorization", value)], UNKNOWN).values == (value,)


@given(pair=st.binary(max_size=60))
def test_no_password_becomes_more_than_one_token(pair: bytes) -> None:
    """The parser finds the password unchanged, or no token."""
    (value,) = BASIC.read([(b"authorization", basic(b"oauth2:" + pair))], UNKNOWN).values
    token = parse_credential([value], 1000)
    if isinstance(token, BearerToken):
        assert token.text.encode() == pair
    else:
        assert token.reason is Reason.CREDENTIAL_MALFORMED


@given(line=st.binary(max_size=60), query=st.text(max_size=40), path=st.text(max_size=20))
def test_no_input_breaks_a_source(line: bytes, query: str, path: str) -> None:
    """Any bytes are read without an error, and the rest can be sent in a header."""
    request = OriginalRequest("GET", "/" + path.encode("utf-8", "replace").decode("latin-1"), None, query)
    if any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) < 0xE000 for char in query):
        return  # no decoder of a request's bytes makes such characters
    for source in (BASIC, HeaderSource(b"x"), COOKIE, QUERY, WebSocketSource()):
        found = source.read([(source.field or b"", line)], request)
        assert all(value.isascii() and (not value or value.isprintable()) for _, value in found.forward)


def test_every_kind_of_source_is_read_and_documented() -> None:
    """A kind that can be configured has an implementation and an example in docs/credentials.md."""
    page = (Path(__file__).parents[3] / "docs" / "credentials.md").read_text()
    for kind in set(SourceConfig.model_fields) - {"scheme", "padded"}:
        values: dict[str, object] = {"websocket": True, "basic": {"usernames": ["oauth2"]}}
        source = SourceConfig.model_validate({kind: values.get(kind, "x-token")})
        assert not sources_of(CredentialConfig(sources=(source,))).only_authorization, kind
        assert f"- {{{kind}: " in page


def test_the_repr_of_what_was_found_shows_no_token() -> None:
    """Neither a token nor the cookies beside it."""
    headers = [(b"authorization", b"Bearer secret-1"), (b"cookie", b"session=secret-2; other=secret-3")]
    found = Sources([COOKIE]).read(headers, UNKNOWN)
    assert len(found.values) == 2
    assert "secret" not in repr(found)


def test_another_scheme_than_that_of_a_header_is_refused() -> None:
    """Bearer is not the usual one there."""
    source = Sources([HeaderSource(b"x-token", b"Token")], None)
    found = source.read([(b"x-token", b"Bearer abc")], UNKNOWN)
    assert parse_credential(found.values, 100) == Rejected(Reason.SCHEME_NOT_BEARER)
