"""The registered claims of a JWT (RFC 7519, section 4.1): their types, and whether they hold now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.model import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.model import JSONValue

LEGACY_ISSUER = "kubernetes/serviceaccount"
"""The issuer of legacy ServiceAccount tokens, which live in Secrets and have neither `aud` nor `exp`."""

_STRING_CLAIMS = ("sub", "jti", "nonce", "at_hash")
_MAX_AUDIENCES = 256
_MAX_TIMESTAMP = 253402300800  # the year 10000, where dates end


@dataclass(frozen=True, slots=True)
class RegisteredClaims:
    """The registered claims, with the JSON types that RFC 7519 gives them; times are POSIX seconds."""

    issuer: str
    audiences: tuple[str, ...]
    expires_at: float | None
    not_before: float | None
    issued_at: float | None
    token_id: str


@dataclass(frozen=True, slots=True)
class TimeRules:
    """How an issuer's times are judged, in seconds; `max_lifetime` None means no bound."""

    leeway: float = 60.0
    expiry_leeway: float = 0.0
    max_lifetime: float | None = None


def read_registered(members: Mapping[str, JSONValue]) -> RegisteredClaims | Rejected:
    """Return the registered claims of a payload, or which one is missing or mistyped.

    As strict as the kube-apiserver is about claims that nobody uses, and stricter about numbers: only finite JSON
    numbers count, never strings or booleans. `exp` may be missing only from a legacy ServiceAccount token.
    """
    issuer = members.get("iss")
    if not isinstance(issuer, str) or not issuer:
        return _malformed("'iss' is missing or no string")
    for name in _STRING_CLAIMS:
        value = members.get(name)
        if value is not None and not isinstance(value, str):
            return _malformed(f"'{name}' is no string")
    for name in ("exp", "nbf", "iat"):
        problem = _time_problem(members, name) if name in members else None
        if problem is not None:
            return _malformed(problem)
    if "exp" not in members and issuer != LEGACY_ISSUER:
        return _malformed("'exp' is missing")
    audiences = _audiences(members.get("aud"), present="aud" in members)
    if audiences is None:
        return _malformed(f"'aud' is neither a string nor a list of at most {_MAX_AUDIENCES} strings")
    if "_claim_names" in members and not _names_sources(members["_claim_names"]):
        return _malformed("'_claim_names' is no object of strings")
    jti = members.get("jti")
    return RegisteredClaims(
        issuer,
        audiences,
        _time(members.get("exp")),
        _time(members.get("nbf")),
        _time(members.get("iat")),
        jti if isinstance(jti, str) else "",
    )


def check_time(claims: RegisteredClaims, rules: TimeRules, now: float) -> Rejected | None:
    """Return why the token is not valid at `now`, or None; `exp` itself is already too late (RFC 7519, 4.1.4)."""
    expires_at = claims.expires_at
    if expires_at is not None and now >= expires_at + rules.expiry_leeway:
        return Rejected(Reason.TOKEN_EXPIRED, f"at {date(expires_at)}")
    for name, start in (("nbf", claims.not_before), ("iat", claims.issued_at)):
        if start is not None and now < start - rules.leeway:
            return Rejected(Reason.TOKEN_NOT_YET_VALID, f"'{name}' is {date(start)}", final=False)
    if rules.max_lifetime is not None and expires_at is not None:
        if claims.issued_at is None:
            return Rejected(Reason.TOKEN_LIFETIME_TOO_LONG, "it cannot be told without 'iat'")
        lifetime = expires_at - claims.issued_at
        if lifetime > rules.max_lifetime:
            return Rejected(
                Reason.TOKEN_LIFETIME_TOO_LONG, f"{lifetime:.0f} s, {rules.max_lifetime:.0f} s are allowed"
            )
    return None


def date(timestamp: float) -> str:
    """Return a POSIX timestamp as a UTC date and time for people (RFC 3339)."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _malformed(detail: str) -> Rejected:
    return Rejected(Reason.CLAIM_MALFORMED, detail)


def _names_sources(value: JSONValue) -> bool:
    return isinstance(value, dict) and all(isinstance(source, str) for source in value.values())


def _time_problem(members: Mapping[str, JSONValue], name: str) -> str | None:
    value = members[name]
    if value is None and name == "nbf":  # the kube-apiserver reads `nbf: null` as absent, but no other null
        return None
    if type(value) is not int and type(value) is not float:
        return f"'{name}' is no number"
    if not 0 <= value < _MAX_TIMESTAMP:
        return f"'{name}' is no date"
    return None


def _time(value: JSONValue) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _audiences(value: JSONValue, *, present: bool) -> tuple[str, ...] | None:
    if not present:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or len(value) > _MAX_AUDIENCES:
        return None
    audiences = tuple([item for item in value if isinstance(item, str)])
    return audiences if len(audiences) == len(value) else None
