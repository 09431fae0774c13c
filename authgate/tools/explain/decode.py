"""Decode a token for display: leniently, within limits, and without verifying it. Pure.

Nothing here decides about a request. The result includes what the gate's strict parser rejects.
"""

from __future__ import annotations

import json
import math
import re
from binascii import a2b_base64
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from authgate.errors import Reason
from authgate.model import Rejected
from authgate.timestamps import date
from authgate.verify.compact import CompactParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from authgate.model import JSONValue

_SEGMENT = re.compile(r"[A-Za-z0-9_+/-]+={0,2}")
_TO_BASE64 = str.maketrans("-_", "+/")
_MAX_DEPTH = 64
_MAX_INTEGER_CHARS = 40
_MAX_TIMESTAMP = 253402300800  # the year 10000, the end of the date format
_LEGACY = "kubernetes.io/serviceaccount/"
_OBJECTS: Final = ("pod", "node", "secret")


class Kind(StrEnum):
    """The form of a token."""

    SIGNED = "signed JWT"
    ENCRYPTED = "encrypted JWT"
    MALFORMED = "malformed JWT"
    OPAQUE = "opaque token"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in a claim: in POSIX seconds, as a date, and in words relative to now."""

    claim: str
    timestamp: float
    date: str
    relation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The content of a token; None for a part that cannot be decoded. Neither the text nor the signature is kept.

    `signature_size` is the length of the signature in bytes. `refusal` is why the gate's stricter parser rejects the
    structure, or None.
    """

    kind: Kind
    size: int
    header: Mapping[str, JSONValue] | None
    claims: Mapping[str, JSONValue] | None
    moments: tuple[Moment, ...]
    kubernetes: tuple[tuple[str, str], ...]
    refusal: Rejected | None
    signature_size: int = 0

    def header_text(self, name: str) -> str | None:
        """Return a header parameter that is a string, or None."""
        return _text(self.header, name)

    def claim_text(self, name: str) -> str | None:
        """Return a claim that is a string, or None."""
        return _text(self.claims, name)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The strings in `aud`, which is a string or a list."""
        named = (self.claims or {}).get("aud")
        items = named if isinstance(named, list) else [named]
        return tuple(item for item in items if isinstance(item, str))

    def moment(self, claim: str) -> Moment | None:
        """Return the time in a claim, or None."""
        return next((moment for moment in self.moments if moment.claim == claim), None)


def decode(text: str, now: float) -> Decoded:
    """Decode a token at `now`; the caller limits the length of `text`.

    White space (as in a token pasted over several lines), padding and base64's standard alphabet are accepted, invalid
    UTF-8 is replaced, and the last of duplicate members counts. So the claims are visible even if the gate rejects the
    token for one of these faults.
    """
    parsed = CompactParser().parse(text)
    refusal = parsed if isinstance(parsed, Rejected) else None
    segments = "".join(text.split()).split(".", 5)
    header = _members(segments[0]) if len(segments) > 1 else None
    claims = _members(segments[1]) if len(segments) > 1 else None
    kind = _kind(len(segments), header, claims, refusal)
    moments = tuple(_moments(claims or {}, now))
    return Decoded(
        kind=kind,
        size=len(text),
        header=header,
        claims=claims,
        moments=moments,
        kubernetes=tuple(_kubernetes(claims or {})),
        refusal=refusal,
        signature_size=0 if isinstance(parsed, Rejected) else len(parsed.signature),
    )


def span(seconds: float) -> str:
    """Format a duration rounded down to one unit, such as `42 min`."""
    length = abs(seconds)
    if length < 90:
        return f"{length // 1:.0f} s"
    if length < 90 * 60:
        return f"{length // 60:.0f} min"
    if length < 48 * 3600:
        return f"{length // 3600:.0f} h"
    return f"{length // 86400:.0f} d"


def _kind(segments: int, header: object, claims: object, refusal: Rejected | None) -> Kind:
    if refusal is None:
        return Kind.SIGNED
    if refusal.reason is Reason.TOKEN_ENCRYPTED and header is not None:
        return Kind.ENCRYPTED
    if header is None and claims is None:
        return Kind.OPAQUE
    complete = segments == 3 and header is not None and claims is not None
    return Kind.SIGNED if complete else Kind.MALFORMED


def _members(segment: str) -> dict[str, JSONValue] | None:
    if _SEGMENT.fullmatch(segment) is None:
        return None
    digits = segment.rstrip("=").translate(_TO_BASE64)
    try:
        data = a2b_base64(digits + "=" * (-len(digits) % 4))
        value = _DECODER.decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _deeper_than(value, _MAX_DEPTH) else None


def _deeper_than(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [below for item in level for below in _below(item)]
        if not level:
            return False
    return True


def _below(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else text


def _fraction(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


# Numbers that do not fit a number type stay texts, so that the result can be written as JSON again.
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=str, strict=False)


def _text(members: Mapping[str, JSONValue] | None, name: str) -> str | None:
    value = (members or {}).get(name)
    return value if isinstance(value, str) else None


def _moments(claims: Mapping[str, JSONValue], now: float) -> Iterator[Moment]:
    private = claims.get("kubernetes.io")
    warn_after = private.get("warnafter") if isinstance(private, dict) else None
    for name, value in (
        *((name, claims.get(name)) for name in ("exp", "nbf", "iat", "auth_time")),
        ("kubernetes.io.warnafter", warn_after),
    ):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_TIMESTAMP:
            continue
        yield Moment(name, value, date(value), _relation(name, value - now))


def _relation(claim: str, ahead: float) -> str:
    future, past = {
        "exp": ("expires in {}", "expired {} ago"),
        "nbf": ("becomes valid in {}", "became valid {} ago"),
        "iat": ("issued {} in the future", "issued {} ago"),
    }.get(claim, ("in {}", "{} ago"))
    return (future if ahead > 0 else past).format(span(ahead))


def _kubernetes(claims: Mapping[str, JSONValue]) -> Iterator[tuple[str, str]]:
    """Yield what a ServiceAccount token is bound to, with readable names.

    Source: Kubernetes pkg/serviceaccount/claims.go and, for tokens in Secrets, legacy.go.
    """
    named = dict(_bound(claims)) or dict(_legacy(claims))
    yield from named.items()
    token_id = claims.get("jti")
    if named and isinstance(token_id, str):
        yield "token id (jti)", token_id


def _bound(claims: Mapping[str, JSONValue]) -> Iterator[tuple[str, str]]:
    private = claims.get("kubernetes.io")
    if not isinstance(private, dict):
        return
    if (namespace := _text(private, "namespace")) is not None:
        yield "namespace", namespace
    for key, label in (("serviceaccount", "service account"), *((kind, kind) for kind in _OBJECTS)):
        reference = private.get(key)
        if not isinstance(reference, dict):
            continue
        for member, suffix in (("name", ""), ("uid", " uid")):
            if (value := _text(reference, member)) is not None:
                yield label + suffix, value


def _legacy(claims: Mapping[str, JSONValue]) -> Iterator[tuple[str, str]]:
    for name, label in (
        ("namespace", "namespace"),
        ("service-account.name", "service account"),
        ("service-account.uid", "service account uid"),
        ("secret.name", "secret"),
    ):
        if (value := _text(claims, _LEGACY + name)) is not None:
            yield label, value
