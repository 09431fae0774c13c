"""Parse the `Authorization` header of a request into one bearer token. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from authgate.errors import Reason
from authgate.model import BearerToken, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

RawHeaders: TypeAlias = "Sequence[tuple[bytes, bytes]]"
"""Header names and values as received, in order."""

# RFC 9110, section 11.2: token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
_CREDENTIAL = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_TOKEN68 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
_SCHEME = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?: |$)")


class PaddedCredential(bytes):
    """A Bearer credential from a source that allows base64url padding in the segments of a JWT.

    The source has checked that it is three segments with padding.
    """

    __slots__ = ()


def values_of(headers: RawHeaders, name: bytes) -> list[bytes]:
    """Return the raw values of all headers with this lower-case name, in order."""
    size = len(name)
    return [value for key, value in headers if len(key) == size and key.lower() == name]


def parse_credential(values: Sequence[bytes], max_token_bytes: int) -> BearerToken | Rejected:
    """Return the bearer token in a request's `Authorization` values, or why they are rejected.

    `values` are the raw values in order. White space around a value is ignored (RFC 9110, section 5.5); everything else
    must match RFC 6750, section 2.1 exactly. Two headers, or a list with commas, are rejected even if only one of the
    credentials is not empty.
    """
    if len(values) != 1:
        if not values:
            return Rejected(Reason.NO_CREDENTIAL)
        return Rejected(Reason.MULTIPLE_CREDENTIALS, f"Authorization ({len(values)} times)")
    value = values[0].strip(b" \t")
    token = value[7:]
    padded = False
    # The usual spelling is checked without the regular expression, which is slower.
    if not token or not value.startswith(b"Bearer ") or token.translate(None, _TOKEN68):
        padded = isinstance(values[0], PaddedCredential)
        match = _CREDENTIAL.fullmatch(value)
        if match is not None:
            token = match[1]
        elif not padded:
            return _why_malformed(value)
    if len(token) > max_token_bytes:
        return _too_large(len(token), max_token_bytes)
    return BearerToken(token.decode("ascii"), padded=padded)


def _too_large(size: int, limit: int) -> Rejected:
    return Rejected(Reason.CREDENTIAL_TOO_LARGE, f"{size} bytes, the limit is {limit} bytes")


def _why_malformed(value: bytes) -> Rejected:
    if not value:
        return Rejected(Reason.CREDENTIAL_MALFORMED, "the header is empty")
    scheme = _SCHEME.match(value)
    if scheme is None:
        return Rejected(Reason.CREDENTIAL_MALFORMED, "the header does not start with a scheme and a space")
    if scheme[1].lower() != b"bearer":
        dpop = scheme[1].lower() == b"dpop"
        return Rejected(Reason.SCHEME_NOT_BEARER, "DPoP proofs cannot be verified" if dpop else "")
    credentials = value[scheme.end() :].lstrip(b" ")
    if not credentials:
        return Rejected(Reason.CREDENTIAL_MALFORMED, "no token follows the scheme")
    if b"," in credentials:
        return Rejected(Reason.MULTIPLE_CREDENTIALS, "a list with commas")
    if credentials[:1] in b"\"'":
        return Rejected(Reason.CREDENTIAL_MALFORMED, "the token is quoted")
    if credentials[:7].lower() == b"bearer ":
        why = "the token begins with 'Bearer '; send it once (a header in credential.sources needs scheme: Bearer)"
        return Rejected(Reason.CREDENTIAL_MALFORMED, why)
    if b"=." in credentials:
        why = "the token has base64url padding, which only a header source with 'padded' accepts, and only in a JWT"
        return Rejected(Reason.CREDENTIAL_MALFORMED, why)
    return Rejected(Reason.CREDENTIAL_MALFORMED, "the token has bytes that are not allowed in a bearer token")
