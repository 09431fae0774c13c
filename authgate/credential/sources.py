"""Further places where a request may carry its token, each only where it is configured, beside `Authorization`.

What is found is handed on as `Authorization` values are, so two tokens in one request are refused, never chosen from,
whatever places they stand in. For places that hold more than the token, the answer tells the proxy what is left of
them, to be sent on to the app. If an app could read another token in what is left, the request is refused.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote_to_bytes

from authgate.credential.bearer import RawHeaders, credentials, values_of
from authgate.credential.lookalikes import COOKIE_SEPARATORS, URI_SEPARATORS, Lookalikes, lookalike_field
from authgate.vocabulary import FORWARD_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Headers, OriginalRequest

_BEARER = b"Bearer "
_MALFORMED: Final = _BEARER
"""Presented, and never good."""
_BEARER_PROTOCOL: Final = b"base64url.bearer.authorization.k8s.io."
_FORWARD_COOKIE: Final = f"{FORWARD_PREFIX}Cookie"
_FORWARD_URI: Final = f"{FORWARD_PREFIX}Uri"
_FORWARD_PROTOCOL: Final = f"{FORWARD_PREFIX}Websocket-Protocol"
_KEPT_IN_URI: Final = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Found:
    """What a place holds: credentials as `Authorization` values, and the headers that hold the rest of it.

    `ambiguous` names what could be read as another credential, in words; "" if nothing could.
    """

    values: tuple[bytes, ...] = ()
    forward: Headers = ()
    ambiguous: str = ""


class Source(Protocol):
    """A place where a token may stand."""

    @property
    def field(self) -> bytes | None:
        """The lower-case name of the field that is read, None where it is the original request's URI."""
        ...

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return what the place holds in this request."""
        ...


@dataclass(frozen=True, slots=True)
class HeaderSource:
    """Another header, whose value is the token or, where `scheme` is given, the scheme and the token."""

    field: bytes
    scheme: bytes = b""

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return every value that is not empty."""
        return Found(
            tuple(self._credential(value) for value in values_of(headers, self.field) if value.strip())
        )

    def _credential(self, value: bytes) -> bytes:
        if not self.scheme:
            return _BEARER + value.strip()
        scheme, _, token = value.strip().partition(b" ")
        return _BEARER + token.lstrip() if scheme.lower() == self.scheme.lower() else value


@dataclass(frozen=True, slots=True)
class CookieSource:
    """Cookies (RFC 6265, section 5.4); an empty one is none. `X-Auth-Forward-Cookie` holds all others."""

    names: frozenset[bytes]
    _lookalikes: Lookalikes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookalikes", Lookalikes(self.names, COOKIE_SEPARATORS))

    @property
    def field(self) -> bytes:
        """Cookies stand in one field."""
        return b"cookie"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the value of every cookie of these names."""
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
    """Parameters of the original query; an empty one is none. `X-Auth-Forward-Uri` holds the URI without them."""

    names: frozenset[bytes]
    _lookalikes: Lookalikes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookalikes", Lookalikes(self.names, URI_SEPARATORS))

    @property
    def field(self) -> None:
        """The query stands in no field of its own."""
        return

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the decoded value of every parameter of these names, however they are written."""
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
    """The subprotocol in which kube-apiserver takes a token, since browsers cannot set headers on a WebSocket.

    `X-Auth-Forward-Websocket-Protocol` holds the others, of which there must be one to answer with.
    Source: k8s.io/apiserver, pkg/authentication/request/websocket/protocol.go.
    """

    @property
    def field(self) -> bytes:
        """Subprotocols stand in one field."""
        return b"sec-websocket-protocol"

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return the token of every bearer protocol; one that is not encoded as it must be is malformed."""
        protocols = [
            protocol.strip(b" \t") for line in values_of(headers, self.field) for protocol in line.split(b",")
        ]
        tokens = [protocol for protocol in protocols if protocol.startswith(_BEARER_PROTOCOL)]
        others = [
            protocol for protocol in protocols if protocol and not protocol.startswith(_BEARER_PROTOCOL)
        ]
        values = [
            _decoded(protocol.removeprefix(_BEARER_PROTOCOL)) if others else _MALFORMED for protocol in tokens
        ]
        lookalike = any(_BEARER_PROTOCOL in protocol.lower() for protocol in others)
        ambiguous = "another WebSocket protocol" if lookalike else ""
        forward = ((_FORWARD_PROTOCOL, _joined(", ", others)),)
        return Found(tuple(values), forward, ambiguous)


class Sources:
    """Every place where a token may stand; `Authorization` is always one of them."""

    def __init__(self, further: Iterable[Source] = ()) -> None:
        self._further = tuple(further)
        self._fields = tuple({source.field for source in self._further if source.field is not None})
        self.reads_query = any(source.field is None for source in self._further)

    def __bool__(self) -> bool:
        return bool(self._further)

    def read(self, headers: RawHeaders, request: OriginalRequest) -> Found:
        """Return what all places hold together."""
        values = credentials(headers)
        forward: list[tuple[str, str]] = []
        lookalike = any(lookalike_field((name for name, _ in headers), field) for field in self._fields)
        ambiguous = "another header" if lookalike else ""
        for source in self._further:
            found = source.read(headers, request)
            values += found.values
            forward += found.forward
            ambiguous = ambiguous or found.ambiguous
        return Found(tuple(values), tuple(forward), ambiguous)

    def secrets(self, headers: RawHeaders) -> list[bytes]:
        """Return the whole values of all fields that may hold a token, so that no log line quotes them."""
        return credentials(headers) + [value for field in self._fields for value in values_of(headers, field)]


ONLY_AUTHORIZATION: Final = Sources()


def _decoded(encoded: bytes) -> bytes:
    padded = encoded + b"=" * (-len(encoded) % 4)
    try:
        token = base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error:
        return _MALFORMED
    if base64.urlsafe_b64encode(token).rstrip(b"=") != encoded:
        return _MALFORMED
    return _BEARER + token


def _bytes(text: str) -> bytes:
    """Return the bytes of a part of a URI: one a character where a header told it, UTF-8 where aiohttp did."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _joined(separator: str, parts: Iterable[bytes]) -> str:
    """Return the parts that a header can carry as they are: printable ASCII."""
    texts = (part.decode("latin-1") for part in parts if part)
    return separator.join(text for text in texts if text.isascii() and text.isprintable())
