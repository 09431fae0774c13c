"""How a kube-apiserver reads a token's claims: each of these raises InvalidTokenError for another type than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

_INT64: Final = float(2**63)

Claims: TypeAlias = Mapping[str, object]


class InvalidTokenError(Exception):
    """A rule that the token breaks, in the server's words."""


def audience_of(claims: Claims) -> tuple[str, ...]:
    """The audiences, none where aud is missing or null; a string is one."""
    match claims.get("aud"):
        case None:
            return ()
        case str(one):
            return (one,)
        case list(several) if all(isinstance(one, str) for one in several):
            return tuple(several)
        case _:
            raise InvalidTokenError(
                "go-jose/go-jose/jwt: expected string or array value to unmarshal to Audience"
            )


def seconds_of(claims: Claims, name: str) -> float | None:
    """The time in seconds since the epoch, or None where it is missing or null."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTokenError("go-jose/go-jose/jwt: expected number value to unmarshal NumericDate")
    # Beyond 64 bits Go's conversion yields the earliest time there is.
    return value if abs(value) < _INT64 else -_INT64


def text_of(claims: Claims, name: str) -> str:
    """The string, empty where it is missing or null."""
    match claims.get(name):
        case None:
            return ""
        case str(text):
            return text
        case _:
            raise InvalidTokenError(f"json: cannot unmarshal {name} into Go value of type string")


def members_of(claims: Claims, name: str) -> Claims | None:
    """The object, or None where it is missing or null."""
    match claims.get(name):
        case None:
            return None
        case dict(members):
            return members
        case _:
            raise InvalidTokenError(f"json: cannot unmarshal {name} into Go value of type struct")


def reference_of(claims: Claims, name: str) -> tuple[str, str] | None:
    """The name and UID of an object that the token names, or None where it names none."""
    named = members_of(claims, name)
    return None if named is None else (text_of(named, "name"), text_of(named, "uid"))
