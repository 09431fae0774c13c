"""What an audit line shows of a request: its id, trace and client, what the client requested, and the token's claims.

Everything is read only if a line is written, so requests without a line pay nothing for it. Each text has a limit. The
claims come from the token as the client sent it: they are facts only if the decision names an identity.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from typing import TYPE_CHECKING, Final

from authgate.credential.bearer import parse_credential, values_of
from authgate.model import BearerToken, OriginalRequest, Rejected, value
from authgate.strict_json import StrictJSONError, parse_object
from authgate.verify.compact import CompactParser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from authgate.credential.bearer import RawHeaders
    from authgate.model import JSONValue
    from authgate.observability.audit import Trace
    from authgate.policy.rules import Policy
    from authgate.vocabulary import Proxy

TRACE_PARENT: Final = b"traceparent"
"""The header with the proxy's span (W3C Trace Context)."""
_TRACE_PARENT: Final = re.compile(
    rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_MAX_TRACE_PARENT: Final = 512
_MAX_ADDRESS: Final = 45
_MAX_TEXT: Final = 256
_MAX_AUDIENCES: Final = 8


@value
class TraceParent:
    """The proxy's span, in hexadecimal digits (W3C Trace Context, section 3.2)."""

    trace_id: str
    span_id: str
    sampled: bool


@value
class TokenClaims:
    """Claims of a JWT, not verified; None or empty if they are missing or have another type. Texts are shortened."""

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    token_id: str | None = None


@value
class RequestFacts:
    """What is known of one request besides the decision. `pattern` is the path of the rule that matches it."""

    request_id: str | None = None
    trace: Trace | None = None
    client: str | None = None
    original: OriginalRequest = field(default_factory=OriginalRequest)
    pattern: str | None = None
    credentials: tuple[bytes, ...] = field(default=(), repr=False)


@value
class Subrequest:
    """A request for a decision, as any protocol carries it.

    `policy` is None if it names none. `original` and `client` read the client's request and address; they are called
    only if something needs them.
    """

    policy: str | None
    headers: RawHeaders = field(repr=False)
    original: Callable[[Proxy | None], OriginalRequest]
    client: Callable[[Proxy | None], str | None]
    request_id: str | None = None


def facts_of(
    subrequest: Subrequest, proxy: Proxy | None, policy: Policy | None, credentials: Sequence[bytes]
) -> RequestFacts:
    """Return the facts of a request; `credentials` are the `Authorization` values that were found in it."""
    original = subrequest.original(proxy)
    return RequestFacts(
        subrequest.request_id,
        trace_parent(subrequest.headers),
        subrequest.client(proxy),
        original,
        None if policy is None else policy.pattern_for(original),
        tuple(credentials),
    )


def trace_parent(headers: RawHeaders) -> TraceParent | None:
    """Return the trace of a request, or None if its `traceparent` is missing, repeated or invalid.

    A later version may have more fields behind those of version 00.
    """
    values = values_of(headers, TRACE_PARENT)
    return parse_trace_parent(values[0]) if len(values) == 1 else None


def parse_trace_parent(field_value: bytes) -> TraceParent | None:
    """Return the trace that a value of `traceparent` names, or None if it is invalid."""
    if len(field_value) > _MAX_TRACE_PARENT:
        return None
    match = _TRACE_PARENT.fullmatch(field_value.strip(b" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceParent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & 1))


def forwarded_for(proxy: Proxy | None, headers: RawHeaders) -> str | None:
    """Return the client's address as the proxy reports it: the last one in `X-Forwarded-For`, or None.

    Clients can write all addresses but the last one, which the proxy adds.
    """
    values = [] if proxy is None else values_of(headers, b"x-forwarded-for")
    return None if not values else address_of(values[-1].rpartition(b",")[2].strip(b" \t").decode("latin-1"))


def address_of(text: str) -> str | None:
    """Return an IP address in its usual form, or None if the text is not one."""
    if len(text) > _MAX_ADDRESS or "%" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def claims_of(credentials: Sequence[bytes]) -> TokenClaims:
    """Return claims of the only credential; none if it is not a signed JWT."""
    token = parse_credential(credentials, _UNLIMITED)
    if isinstance(token, Rejected):
        return TokenClaims()
    members = _members(token)
    audiences = members.get("aud")
    named = audiences if isinstance(audiences, list) else [audiences]
    texts = [text for text in map(_text, named[: _MAX_AUDIENCES + 1]) if text is not None]
    if len(texts) > _MAX_AUDIENCES:
        texts[_MAX_AUDIENCES:] = ["…"]
    return TokenClaims(_text(members.get("iss")), tuple(texts), _text(members.get("jti")))


_UNLIMITED: Final = 1 << 30
"""The listener limits the size of headers, and with it that of a token."""


def placeholder_of(credentials: Sequence[bytes]) -> str | None:
    """Return the word that a program sent instead of a token, if it is one of a known list."""
    if len(credentials) != 1 or credentials[0][:7].lower() != b"bearer ":
        return None
    word = credentials[0][7:].strip().lower()
    return word.decode() if word in _PLACEHOLDERS else None


_PLACEHOLDERS: Final = frozenset(
    {b"undefined", b"null", b"none", b"nil", b"nan", b"[object object]", b"$token", b"${token}", b"<token>"}
)
"""What programs and copied commands send if a variable is not set."""
INSTEAD_OF_TOKEN: Final = "instead of a token"
"""The end of a detail that names such a word."""


def _members(token: BearerToken) -> dict[str, JSONValue]:
    text = token.text.replace("=", "") if token.padded else token.text
    jws = CompactParser().parse_jws(text)
    if isinstance(jws, Rejected):
        return {}
    try:
        return parse_object(jws.payload)
    except StrictJSONError:
        return {}


def _text(claim: JSONValue) -> str | None:
    return shortened(claim) if isinstance(claim, str) else None


def shortened(text: str, limit: int = _MAX_TEXT) -> str:
    """Return a text of at most `limit` characters; a longer one ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[:limit]}…"
