"""Strict parsing of a JWT in compact serialization (RFC 7515, RFC 7519, RFC 8725).

No signature is checked here: the result is unverified.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from authgate.errors import Reason
from authgate.model import Rejected, UnverifiedClaims, value
from authgate.strict_json import StrictJSONError, parse_object
from authgate.verify.claims import RegisteredClaims, read_registered

if TYPE_CHECKING:
    from authgate.model import JSONValue

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
# Characters of base64 that are not in base64url become invalid, so that the strict decoder rejects them.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
# A last group of 2 or 3 characters must end in zero bits (RFC 4648, section 3.5): one token has one text.
_CANONICAL_LAST: Final = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
_PADDING: Final = (b"", b"", b"==", b"=")
_BASE64URL = re.compile(r"[A-Za-z0-9+/_-]*")
_LENIENT = bytes.maketrans(b"-_", b"+/")
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*[\"}]")
_MIN_OBJECT_CHARS = (
    4  # of base64url, whose whole groups are decoded; a client can send thousands of shorter segments
)
_MAX_SEGMENTS: Final = 16  # in which a JSON object is looked for: a client can send thousands
_MAX_HEADER_CHARS = 4096
_MAX_KID_CHARS = 512
_REMEMBERED_HEADERS = 512
_MICROSOFT_GRAPH: Final = frozenset({"00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com"})
FOR_MICROSOFT_GRAPH: Final = "this token is for Microsoft Graph; request a token for your own API"


@dataclass(frozen=True, slots=True)
class JOSEHeader:
    """The header parameters that authgate reads; None if absent. `typ` is lower-case, without `application/`.

    Parameters that refer to keys (`jku`, `jwk`, `x5u`, `x5c`) are ignored: keys come only from the issuer's key set.
    """

    alg: str
    kid: str | None
    typ: str | None
    signer: str | None = None
    """The load balancer that signed the token, with AWS."""


@dataclass(frozen=True, slots=True)
class UnverifiedJWS:
    """The parts of a compact JWS (RFC 7515, section 7.1), not verified; `payload` can be any bytes."""

    header: JOSEHeader
    payload: bytes
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@value
class UnverifiedToken:
    """A well-formed JWT, not verified. Its repr shows nothing that could be used as a token."""

    header: JOSEHeader
    claims: UnverifiedClaims
    registered: RegisteredClaims
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    text: str = field(repr=False)


class CompactParser:
    """Parses tokens. It caches parsed headers, because all tokens of a key share one.

    `trust_domains` are those of SPIFFE whose tokens have no `iss`.
    """

    def __init__(self, trust_domains: frozenset[str] = frozenset()) -> None:
        self._trust_domains = trust_domains
        self._headers: dict[bytes, JOSEHeader] = {}

    def parse(self, text: str, *, padded: bool = False) -> UnverifiedToken | Rejected:
        """Return the parsed token, or why it is not a well-formed signed JWT. The caller limits the size of `text`.

        With `padded`, each segment may have its base64 padding. It is part of what was signed. A text without any JSON
        object is an opaque token, even if it has dots: Google's `ya29.…`, GitLab's `glpat-….01.…`.
        """
        pieces = self._take_apart(_without_padding(text) if padded else text)
        if isinstance(pieces, Rejected):
            explained = pieces.reason is Reason.TOKEN_OPAQUE or holds_json_object(text)
            return pieces if explained else Rejected(Reason.TOKEN_OPAQUE)
        header, payload, signing_input, signature = pieces
        if padded:
            signing_input = text.rpartition(".")[0].encode("ascii")
        try:
            members = parse_object(payload)
        except StrictJSONError as error:
            return _not_json("payload", error)
        registered = read_registered(members, self._trust_domains)
        if isinstance(registered, Rejected):
            return registered
        return UnverifiedToken(header, UnverifiedClaims(members), registered, signing_input, signature, text)

    def parse_jws(self, text: str) -> UnverifiedJWS | Rejected:
        """Return the parts of a compact JWS, or why it cannot be a signed JWT. Claims are not read."""
        pieces = self._take_apart(text)
        return pieces if isinstance(pieces, Rejected) else UnverifiedJWS(*pieces)

    def _take_apart(self, text: str) -> tuple[JOSEHeader, bytes, bytes, bytes] | Rejected:
        """Return header, payload, signing input and signature."""
        if not text.isascii():
            return _why_not_compact(text)
        data = text.encode("ascii")
        segments = data.split(b".", 3)
        if len(segments) != 3 or not segments[0] or not segments[1]:
            return _why_not_compact(text)
        header_segment, payload_segment, signature_segment = segments
        payload = decode_segment(payload_segment)
        signature = decode_segment(signature_segment)
        header = self._headers.get(header_segment)
        if (payload is None or signature is None or header is None) and _COMPACT.fullmatch(text) is None:
            return _why_not_compact(text)
        if header is None:
            parsed = _parse_header(header_segment)
            if isinstance(parsed, Rejected):
                return parsed
            header = parsed
            if len(self._headers) >= _REMEMBERED_HEADERS:
                self._headers.clear()  # only a flood of invented headers gets here; parsing again takes microseconds
            self._headers[header_segment] = header
        if payload is None or signature is None:
            return Rejected(Reason.TOKEN_MALFORMED, "a segment is not canonical base64url")
        return header, payload, data[: -len(signature_segment) - 1], signature


def _without_padding(text: str) -> str:
    """Return the text without the padding of its segments. A segment with wrong padding stays as it is."""
    segments = text.split(".", 3)
    return ".".join(
        segment.rstrip("=") if len(segment) % 4 == 0 and not segment.endswith("===") else segment
        for segment in segments
    )


def holds_json_object(text: str) -> bool:
    """Return whether a segment of a token decodes to the beginning of a JSON object, as a JWT's header and claims do.

    That is true for every JWT, signed or encrypted, also for a truncated or damaged one. It is false for static tokens,
    which can contain dots. Segments behind the first 16 do not matter: no token with JSON begins with so many others.
    """
    return any(
        len(segment) >= _MIN_OBJECT_CHARS and _OBJECT.match(_decoded_start(segment)) is not None
        for segment in text.split(".", _MAX_SEGMENTS)[:_MAX_SEGMENTS]
    )


def why_unverifiable(token: UnverifiedToken) -> str:
    """Return why no key verifies a rejected token, or "" if the reason is not known.

    Entra ID signs tokens for Microsoft Graph with another `nonce` in the header than they have.
    """
    if _MICROSOFT_GRAPH.isdisjoint(token.registered.audiences):
        return ""
    header = decode_segment(token.signing_input.split(b".")[0])
    return FOR_MICROSOFT_GRAPH if header is not None and "nonce" in parse_object(header) else ""


def _decoded_start(segment: str) -> bytes:
    """Decode the base64url characters at the start of a segment as leniently as possible."""
    characters = _BASE64URL.match(segment)
    whole = characters[0] if characters is not None else ""
    try:
        return a2b_base64(whole[: len(whole) & ~3].encode("ascii").translate(_LENIENT))
    except Base64Error:
        return b""


def decode_segment(segment: bytes) -> bytes | None:
    """Return the bytes of a canonical base64url text without padding, or None for any other."""
    remainder = len(segment) % 4
    if remainder == 1 or (remainder and segment[-1] not in _CANONICAL_LAST[remainder]):
        return None
    try:
        return a2b_base64(segment.translate(_TO_BASE64) + _PADDING[remainder], strict_mode=True)
    except Base64Error:
        return None


def _parse_header(segment: bytes) -> JOSEHeader | Rejected:
    if len(segment) > _MAX_HEADER_CHARS:
        return Rejected(
            Reason.TOKEN_MALFORMED, f"the header segment is longer than {_MAX_HEADER_CHARS} characters"
        )
    data = decode_segment(segment)
    if data is None:
        return Rejected(Reason.TOKEN_MALFORMED, "the header segment is not canonical base64url")
    try:
        members = parse_object(data)
    except StrictJSONError as error:
        return _not_json("header", error)
    return _read_header(members)


def _read_header(members: dict[str, JSONValue]) -> JOSEHeader | Rejected:
    if "crit" in members:
        return Rejected(Reason.CRITICAL_HEADER)
    if "enc" in members:
        return Rejected(Reason.TOKEN_ENCRYPTED)
    if members.get("b64", True) is not True:  # RFC 7797, section 7: a JWT must not use an unencoded payload
        return Rejected(Reason.CRITICAL_HEADER, "'b64' is not true")
    alg, kid, typ = members.get("alg"), members.get("kid"), members.get("typ")
    if not isinstance(alg, str):
        return Rejected(Reason.TOKEN_MALFORMED, "'alg' is missing or not a string")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID_CHARS):
        return Rejected(
            Reason.TOKEN_MALFORMED, f"'kid' is not a string of at most {_MAX_KID_CHARS} characters"
        )
    if "kid" in members and kid is None:
        return Rejected(Reason.TOKEN_MALFORMED, "'kid' is null")
    if "typ" in members and not isinstance(typ, str):
        return Rejected(Reason.TOKEN_MALFORMED, "'typ' is not a string")
    signer = members.get("signer")
    return JOSEHeader(
        alg,
        kid,
        normalise_type(typ) if isinstance(typ, str) else None,
        signer if isinstance(signer, str) else None,
    )


def padded(signing_input: bytes) -> bytes:
    """Return a signing input with the base64 padding that AWS load balancers sign with it."""
    return b".".join(segment + b"=" * (-len(segment) % 4) for segment in signing_input.split(b"."))


def normalise_type(typ: str) -> str:
    """Normalise a media type for comparison (RFC 7515, section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def _not_json(part: str, error: StrictJSONError) -> Rejected:
    reason = Reason.DUPLICATE_MEMBER if error.duplicate else Reason.TOKEN_MALFORMED
    return Rejected(reason, f"the {part}: {error}")


def _why_not_compact(text: str) -> Rejected:
    segments = text.count(".") + 1
    if segments == 1:
        return Rejected(Reason.TOKEN_OPAQUE, final=False)  # a look-up in the cache would take as long as this
    if segments == 5:
        return Rejected(Reason.TOKEN_ENCRYPTED)
    if segments != 3:
        return Rejected(Reason.TOKEN_MALFORMED, f"{segments} segments; a signed JWT has 3")
    return Rejected(Reason.TOKEN_MALFORMED, "a segment is empty or contains characters outside base64url")
