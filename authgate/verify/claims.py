"""The registered claims of a JWT (RFC 7519, section 4.1): their types and times. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.errors import Reason
from authgate.json_pointer import Missing, claim_pointer
from authgate.model import Rejected, value
from authgate.timestamps import date
from authgate.vocabulary import LEGACY_ISSUER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.model import JSONValue

_MAX_SPIFFE_ID = 2048
_SPIFFE_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+")
_STRING_CLAIMS = ("sub", "jti", "nonce", "at_hash")
_CONFIRMATIONS = ("jkt", "x5t#S256", "jwk", "jwe", "jku", "kid")
_MAX_AUDIENCES = 256
AUDIENCE_CLAIMS: Final = ("aud",)
AUDIENCE_SUBSTITUTES: Final = ("client_id", "azp", "appid", "cid")
"""Claims with which issuers that write no `aud` name the client."""
_MAX_TIMESTAMP = 253402300800  # the year 10000
GROUPS_OMITTED: Final = "the user is in too many groups, so the issuer left them out of the token"


@value
class RegisteredClaims:
    """The registered claims, with the JSON types of RFC 7519; times are POSIX seconds."""

    issuer: str
    audiences: tuple[str, ...]
    expires_at: float | None
    not_before: float | None
    issued_at: float | None


@dataclass(frozen=True, slots=True)
class TimeRules:
    """How the times of an issuer's tokens are checked, in seconds; `max_lifetime` None means no limit."""

    leeway: float = 60.0
    expiry_leeway: float = 0.0
    max_lifetime: float | None = None


def trust_domain_of(subject: object) -> str | None:
    """Return the trust domain of a workload's SPIFFE ID, or None for anything else.

    Source: SPIFFE, "SPIFFE-ID", section 2: no query, fragment, port or percent-encoding, no empty or dot segments.
    """
    if not isinstance(subject, str) or len(subject) > _MAX_SPIFFE_ID:
        return None
    found = _SPIFFE_ID.fullmatch(subject)
    return None if found is None else found[1]


def read_registered(
    members: Mapping[str, JSONValue], trust_domains: frozenset[str] = frozenset(), *, complete: bool = True
) -> RegisteredClaims | Rejected:
    """Return the registered claims of a payload, or which one is missing or has a wrong type.

    It is as strict as kube-apiserver about claims that nothing reads, and stricter about numbers: only finite JSON
    numbers, not strings or booleans. Only a legacy ServiceAccount token may have no `exp`. A token without `iss`
    belongs to the trust domain in `sub`, if it is one of `trust_domains`. Unless `complete`, `iss` and `exp` may be
    missing, as in the response of an introspection endpoint (RFC 7662, section 2.2); `issuer` is then "".
    """
    get = members.get
    issuer = get("iss")
    if issuer is None and trust_domains and "iss" not in members:
        domain = trust_domain_of(get("sub"))
        if domain is None:
            return _malformed("'iss' is missing, and 'sub' is not a SPIFFE ID")
        if domain not in trust_domains:
            return Rejected(Reason.ISSUER_UNKNOWN, "the trust domain in 'sub' is not configured")
        issuer = f"spiffe://{domain}"
    if issuer is None and not complete:
        issuer = ""
    elif not isinstance(issuer, str) or not issuer:
        return _malformed("'iss' is missing or not a string")
    for name in _STRING_CLAIMS:
        value = get(name)
        if value is not None and not isinstance(value, str):
            return _malformed(f"'{name}' is not a string")
    times = _times(members)
    if isinstance(times, str):
        return _malformed(times)
    expires_at, not_before, issued_at = times
    if expires_at is None and complete and issuer != LEGACY_ISSUER:
        return _malformed("'exp' is missing")
    audiences = _audiences(get("aud"), present="aud" in members)
    if audiences is None:
        return _malformed(f"'aud' is neither a string nor a list of at most {_MAX_AUDIENCES} strings")
    if ("_claim_names" in members or "_claim_sources" in members) and not _names_sources(
        get("_claim_names"), get("_claim_sources")
    ):
        return _malformed("'_claim_names' is not an object whose values are members of '_claim_sources'")
    return RegisteredClaims(issuer, audiences, expires_at, not_before, issued_at)


def check_time(claims: RegisteredClaims, rules: TimeRules, now: float) -> Rejected | None:
    """Return why the token is not valid at `now`, or None. At `exp` it has expired (RFC 7519, section 4.1.4)."""
    expires_at = claims.expires_at
    if expires_at is not None and now >= expires_at + rules.expiry_leeway:
        return Rejected(Reason.TOKEN_EXPIRED, f"at {date(expires_at)}")
    latest = now + rules.leeway
    not_before, issued_at = claims.not_before, claims.issued_at
    if not_before is not None and latest < not_before:
        return Rejected(Reason.TOKEN_NOT_YET_VALID, f"'nbf' is {date(not_before)}", final=False)
    if issued_at is not None and latest < issued_at:
        return Rejected(Reason.TOKEN_NOT_YET_VALID, f"'iat' is {date(issued_at)}", final=False)
    if rules.max_lifetime is not None and expires_at is not None:
        if claims.issued_at is None:
            return Rejected(Reason.TOKEN_LIFETIME_TOO_LONG, "unknown without 'iat'")
        lifetime = expires_at - claims.issued_at
        if lifetime > rules.max_lifetime:
            return Rejected(
                Reason.TOKEN_LIFETIME_TOO_LONG, f"{lifetime:.0f} s; {rules.max_lifetime:.0f} s are allowed"
            )
    return None


def audiences_in(members: Mapping[str, JSONValue], claims: tuple[str, ...]) -> tuple[str, ...]:
    """Return the audiences in the first of these claims that the token has; empty if it has none or is malformed."""
    for claim in claims:
        value = claim_pointer(claim).lookup(members)
        if not isinstance(value, Missing):
            return _audiences(value, present=True) or ()
    return ()


def why_no_audience(members: Mapping[str, JSONValue], claims: tuple[str, ...]) -> str:
    """Return why a token names no audience, or "" if it names one that is not accepted."""
    if audiences_in(members, claims):
        return ""
    present = [claim for claim in claims if not isinstance(claim_pointer(claim).lookup(members), Missing)]
    if present:
        return f"its `{present[0]}` names none"
    missing = " or ".join(f"`{claim}`" for claim in claims)
    other = next((claim for claim in AUDIENCE_SUBSTITUTES if claim not in claims and claim in members), None)
    return f"it has no {missing}" + (f", but a `{other}`" if other else "")


def omits_groups(members: Mapping[str, JSONValue]) -> bool:
    """Return whether a token has no `groups` because there are too many (Entra ID's groups overage claim)."""
    if "groups" in members:
        return False
    names = members.get("_claim_names")
    return members.get("hasgroups") in (True, "true") or (isinstance(names, dict) and "groups" in names)


def confirmation(members: Mapping[str, JSONValue]) -> str | None:
    """Return what a token's `cnf` binds it to, or None if the token has no `cnf` and is a bearer token.

    Every `cnf` counts, also an empty one, null, and one with unknown or malformed members: the issuer requires a proof
    of possession (RFC 7800, section 3.1). The text contains nothing that the sender can choose.
    """
    if "cnf" not in members:
        return None
    bound = members["cnf"]
    if not isinstance(bound, dict) or not bound:
        return "'cnf' is malformed"
    known = ", ".join(name for name in _CONFIRMATIONS if name in bound)
    return f"'cnf' has {known}" if known else "'cnf' has only unknown members"


def _malformed(detail: str) -> Rejected:
    return Rejected(Reason.CLAIM_MALFORMED, detail)


def _names_sources(names: JSONValue, sources: JSONValue) -> bool:
    """Return whether distributed claims are well-formed (OpenID Connect Core 1.0, section 5.6.2)."""
    names, sources = {} if names is None else names, {} if sources is None else sources
    if not isinstance(names, dict) or not isinstance(sources, dict):
        return False
    return all(isinstance(source, str) and source and source in sources for source in names.values()) and all(
        source is None
        or (
            isinstance(source, dict)
            and all(isinstance(source.get(name, ""), str | None) for name in ("endpoint", "access_token"))
        )
        for source in sources.values()
    )


def _times(members: Mapping[str, JSONValue]) -> tuple[float | None, float | None, float | None] | str:
    """Return `exp`, `nbf` and `iat`, or an error."""
    end, begin, issued = members.get("exp"), members.get("nbf"), members.get("iat")
    if (
        type(end) is type(begin) is type(issued) is int
        and 0 <= end < _MAX_TIMESTAMP
        and 0 <= begin < _MAX_TIMESTAMP
        and 0 <= issued < _MAX_TIMESTAMP
    ):
        return float(end), float(begin), float(issued)  # the fast path for nearly every token
    found: list[float | None] = []
    for name, time in (("exp", end), ("nbf", begin), ("iat", issued)):
        if time is None and (name == "nbf" or name not in members):
            found.append(None)  # the kube-apiserver reads `nbf: null` as absent, but no other null
        elif type(time) is not int and type(time) is not float:
            return f"'{name}' is not a number"
        elif not 0 <= time < _MAX_TIMESTAMP:
            return f"'{name}' is not a date before the year 10000"
        else:
            found.append(float(time))
    return found[0], found[1], found[2]


def _audiences(value: JSONValue, *, present: bool) -> tuple[str, ...] | None:
    if not present:
        return ()
    if isinstance(value, str):
        return (value,)
    if type(value) is list and len(value) == 1 and type(value[0]) is str:
        return (value[0],)
    if not isinstance(value, list) or len(value) > _MAX_AUDIENCES:
        return None
    audiences = tuple([item for item in value if isinstance(item, str)])
    return audiences if len(audiences) == len(value) else None
