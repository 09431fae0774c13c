"""The sources of a token: `Authorization`, other headers, cookies, query parameters and WebSocket protocols.

Tokens from all sources are treated like `Authorization` values, so two tokens in one request are rejected. If a source
contains more than the token, a response header gives the proxy the rest, to forward to the app. If an app could read
another token in the rest, the request is rejected.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from authgate.credential.bearer import PaddedCredential, RawHeaders, values_of
from authgate.credential.lookalikes import COOKIE_SEPARATORS, URI_SEPARATORS, Lookalikes, lookalike_field
from authgate.vocabulary import FORWARD_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Headers, OriginalRequest

_BEARER = b"Bearer "
_MALFORMED: Final = _BEARER
"""A credential that is always rejected as malformed."""
_LIST: Final = _BEARER + b","
"""A credential that is always rejected as several ones."""
_OTHER_SCHEME: Final = b"Other"
"""A credential that is always rejected because of its scheme."""
_BASIC: Final = re.compile(rb"[Bb][Aa][Ss][Ii][Cc] +([^ ].*)", re.DOTALL)
_PADDED: Final = re.compile(rb"[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]*={0,2}")
_NEVER_IN_TOKENS: Final = bytes.maketrans(b" \t,", b"\x00\x00\x00")
"""Makes a password that is no token malformed, instead of white space to ignore or a list of credentials."""
_BEARER_PROTOCOL: Final = b"base64url.bearer.authorization.k8s.io."
_FORWARD_COOKIE: Final = f"{FORWARD_PREFIX}Cookie"
_FORWARD_URI: Final = f"{FORWARD_PREFIX}Uri"
_FORWARD_PROTOCOL: Final = f"{FORWARD_PREFIX}Websocket-Protocol"
_KEPT_IN_URI: Final = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Found:
    """What a source contains: credentials as `Authorization` values, and response headers with the rest.

    `ambiguous` describes what could be read as another credential, or is empty. `places` has the place of each value,
    in the same order; a source leaves it empty, because all of its values are in one place.
    """

    values: tuple[bytes, ...] = field(default=(), repr=False)
    forward: Headers = field(default=(), repr=False)
    ambiguous: str = ""
    places: tuple[str, ...] = ()


class Source(Protocol):
    """A source of tokens."""

    @property
    def field(self) -> bytes | None:
        """The lower-case name of the header that is read, or None for the original request's URI."""
        ...

    @property
    def place(self) -> str:
        """Where the token is, for people: the header's name, "cookie", "query parameter" or "WebSocket protocol"."""
        ...

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return what the source contains in this request."""
        ...


@dataclass(frozen=True, slots=True)
class AuthorizationSource:
    """The header `Authorization`, with a Bearer token or, for the user names in `usernames`, with a Basic password.

    User names are UTF-8. They are compared exactly.
    """

    usernames: frozenset[bytes] = frozenset()

    @property
    def field(self) -> bytes:
        """The name of the header."""
        return b"authorization"

    @property
    def place(self) -> str:
        """The name of the header."""
        return "Authorization"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return all values, also empty ones."""
        return Found(tuple(self._credential(value) for value in values_of(headers, self.field)))

    def _credential(self, value: bytes) -> bytes:
        """Return a Bearer credential for a password that is a token, else the value itself."""
        match = _BASIC.match(value.strip(b" \t")) if self.usernames else None
        if match is None:
            return value
        if b"," in value:  # proxies join two headers with a comma
            return _LIST
        pair = _from_base64(match[1], b"+/", padded=True)
        username, colon, password = (pair or b"").partition(b":")
        if not colon or username not in self.usernames:
            return value
        return _BEARER + password.translate(_NEVER_IN_TOKENS)


@dataclass(frozen=True, slots=True)
class HeaderSource:
    """Another header, whose value is the token, or the scheme and the token if `scheme` is set.

    With `padded`, the segments of a JWT may have base64url padding.
    """

    field: bytes
    scheme: bytes = b""
    padded: bool = False

    @property
    def place(self) -> str:
        """The name of the header."""
        return self.field.decode("ascii").title()

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return all values that are not empty."""
        return Found(
            tuple(self._credential(value) for value in values_of(headers, self.field) if value.strip())
        )

    def _credential(self, value: bytes) -> bytes:
        token = value.strip()
        if self.scheme:
            scheme, _, token = token.partition(b" ")
            if scheme.lower() != self.scheme.lower():
                return value if scheme.lower() != b"bearer" else _OTHER_SCHEME
            token = token.lstrip()
        return (padded_credential(token) if self.padded else None) or _BEARER + token


def padded_credential(token: bytes) -> PaddedCredential | None:
    """Return the credential of a JWT with padding, or None if it is not a JWT or has no padding."""
    return PaddedCredential(_BEARER + token) if b"=" in token and _PADDED.fullmatch(token) else None


@dataclass(frozen=True, slots=True)
class CookieSource:
    """Cookies (RFC 6265, section 5.4); empty ones are ignored. `X-Auth-Forward-Cookie` has all other cookies."""

    names: frozenset[bytes]
    _lookalikes: Lookalikes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookalikes", Lookalikes(self.names, COOKIE_SEPARATORS))

    @property
    def field(self) -> bytes:
        """The name of the header with cookies."""
        return b"cookie"

    @property
    def place(self) -> str:
        """A cookie; its name is not shown."""
        return "cookie"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the values of all cookies with these names."""
        values: list[bytes] = []
        others: list[bytes] = []
        for line in values_of(headers, self.field):
            for pair in line.split(b";"):
                name, _, value = (part.strip(b" \t") for part in pair.partition(b"="))
                if name not in self.names:
                    others.append(pair.strip(b" \t"))
                elif value and value != b'""':
                    quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
                    values.append(_BEARER + (value[1:-1] if quoted else value))
        ambiguous = "another cookie" if self._lookalikes.found_in(others) else ""
        return Found(tuple(values), ((_FORWARD_COOKIE, _joined("; ", others)),), ambiguous)


@dataclass(frozen=True, slots=True)
class QuerySource:
    """Parameters of the original query; empty ones are ignored. `X-Auth-Forward-Uri` has the URI without them."""

    names: frozenset[bytes]
    _lookalikes: Lookalikes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookalikes", Lookalikes(self.names, URI_SEPARATORS))

    @property
    def field(self) -> None:
        """None, because the query is not in a header of its own."""
        return

    @property
    def place(self) -> str:
        """A parameter; its name is not shown."""
        return "query parameter"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the decoded values of all parameters with these names, whether the names are encoded or not."""
        if request.path is None:
            return Found((), ((_FORWARD_URI, ""),))
        values: list[bytes] = []
        others: list[str] = []
        for pair in (request.query or "").split("&"):
            name, _, value = pair.partition("=")
            if unquote_to_bytes(_bytes(name)) not in self.names:
                others.append(pair)
            elif value:
                values.append(_BEARER + unquote_to_bytes(_bytes(value)))
        query = "&".join(others)
        uri = f"{request.path}?{query}" if query else request.path
        forward = quote(_bytes(uri), safe=_KEPT_IN_URI)
        rest = (_bytes(request.path), *(_bytes(pair) for pair in others))
        ambiguous = "another part of the URI" if self._lookalikes.found_in(rest) else ""
        return Found(tuple(values), ((_FORWARD_URI, forward),), ambiguous)


@dataclass(frozen=True, slots=True)
class WebSocketSource:
    """The WebSocket subprotocol that kube-apiserver reads a token from, as browsers cannot set headers there.

    `X-Auth-Forward-Websocket-Protocol` has the other protocols. At least one is needed, for the server to accept.
    Source: k8s.io/apiserver, pkg/authentication/request/websocket/protocol.go.
    """

    @property
    def field(self) -> bytes:
        """The name of the header with subprotocols."""
        return b"sec-websocket-protocol"

    @property
    def place(self) -> str:
        """A subprotocol."""
        return "WebSocket protocol"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the tokens of all bearer protocols; one with a wrong encoding is malformed."""
        protocols = [
            protocol.strip(b" \t") for line in values_of(headers, self.field) for protocol in line.split(b",")
        ]
        tokens = [protocol for protocol in protocols if protocol.startswith(_BEARER_PROTOCOL)]
        others = [
            protocol for protocol in protocols if protocol and not protocol.startswith(_BEARER_PROTOCOL)
        ]
        values = [self._credential(protocol) if others else _MALFORMED for protocol in tokens]
        lookalike = any(_BEARER_PROTOCOL in protocol.lower() for protocol in others)
        ambiguous = "another WebSocket protocol" if lookalike else ""
        forward = ((_FORWARD_PROTOCOL, _joined(", ", others)),)
        return Found(tuple(values), forward, ambiguous)

    def _credential(self, protocol: bytes) -> bytes:
        token = _from_base64(protocol.removeprefix(_BEARER_PROTOCOL), b"-_", padded=False)
        return _MALFORMED if token is None else _BEARER + token


class Sources:
    """All sources of tokens. Without `authorization`, that header belongs to the app."""

    def __init__(
        self,
        additional: Iterable[Source] = (),
        authorization: AuthorizationSource | None = AuthorizationSource(),
    ) -> None:
        self._all: tuple[Source, ...] = (*(() if authorization is None else (authorization,)), *additional)
        self._fields = tuple({source.field for source in self._all if source.field is not None})
        self.reads_query = any(source.field is None for source in self._all)
        self.only_authorization = self._all == (AuthorizationSource(),)
        """Whether the only credential is a Bearer token in `Authorization`."""
        self.reads_basic = authorization is not None and bool(authorization.usernames)
        """Whether a Basic password can be a token, so that refusals ask for one."""
        self.places = ", ".join(dict.fromkeys(source.place for source in self._all))
        """Where tokens are read from, for people."""

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return what all sources contain together."""
        values: list[bytes] = []
        places: list[str] = []
        forward: list[tuple[str, str]] = []
        lookalike = any(lookalike_field((name for name, _ in headers), field) for field in self._fields)
        ambiguous = "another header" if lookalike else ""
        for source in self._all:
            found = source.read(headers, request)
            values += found.values
            places += [source.place] * len(found.values)
            forward += found.forward
            ambiguous = ambiguous or found.ambiguous
        return Found(tuple(values), tuple(forward), ambiguous, tuple(places))

    def secrets(self, headers: RawHeaders) -> list[bytes]:
        """Return the complete values of all headers that may contain a token, so that no log line quotes them.

        `Authorization` is one of them, even if it belongs to the app.
        """
        fields = {b"authorization", *self._fields}
        return [value for field in fields for value in values_of(headers, field)]


def describe_places(places: Iterable[str]) -> str:
    """Return the places of several credentials as text, each with the number of credentials if there are several."""
    counted = Counter(places).items()
    return ", ".join(place if count == 1 else f"{place} ({count} times)" for place, count in counted)


ONLY_AUTHORIZATION: Final = Sources()


def _from_base64(encoded: bytes, altchars: bytes, *, padded: bool) -> bytes | None:
    """Decode canonical base64, or return None. One text has one encoding: with all of its padding, or without any."""
    try:
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=altchars, validate=True)
    except binascii.Error:
        return None
    canonical = base64.b64encode(decoded, altchars)
    return decoded if encoded == (canonical if padded else canonical.rstrip(b"=")) else None


def _bytes(text: str) -> bytes:
    """Return the bytes of a part of a URI, which is Latin-1 if it comes from a header and UTF-8 if from aiohttp."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _joined(separator: str, parts: Iterable[bytes]) -> str:
    """Join the parts that are printable ASCII, which headers can carry unchanged."""
    texts = (part.decode("latin-1") for part in parts if part)
    return separator.join(text for text in texts if text.isascii() and text.isprintable())
