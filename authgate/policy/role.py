"""Roles as in Vault's JWT auth method: claims that a valid token must also have, and claims that rename the user. Pure.

Sources: Vault's API documentation of jwt/oidc roles; vault-plugin-auth-jwt, claims.go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.globs import Globs
from authgate.policy.mapped_headers import trusted
from authgate.text import is_clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.json_pointer import JSONPointer
    from authgate.model import Identity, JSONValue
    from authgate.policy.conditions import PolicyInput
    from authgate.policy.mapped_headers import MappedHeader

Scalar = bool | int | float | str
_SYSTEM = "system:"


class BoundClaim:
    """A claim that must have one of these values, or contain one of them if it is a list.

    With `glob`, the values are globs, and only strings match.
    """

    __slots__ = ("_globs", "_values", "pointer")

    def __init__(self, pointer: JSONPointer, values: Iterable[Scalar], *, glob: bool) -> None:
        self.pointer = pointer
        self._values = tuple(values)
        self._globs = Globs(map(str, self._values)) if glob else None

    def holds(self, claims: Mapping[str, JSONValue]) -> bool:
        """Return whether the claim matches; one that is missing, null or an unverified email address does not."""
        found = trusted(self.pointer, claims)
        return any(map(self._fits, found)) if isinstance(found, list) else self._fits(found)

    def _fits(self, found: JSONValue) -> bool:
        if self._globs is not None:
            return isinstance(found, str) and self._globs.match(found)
        return any(_same(found, value) for value in self._values)


@dataclass(frozen=True, slots=True)
class Leeways:
    """Seconds of leeway for `exp`, `nbf` and `iat` in a role; None leaves it to the issuer."""

    expiration: float | None = None
    not_before: float | None = None
    issued_at: float | None = None

    def refuses(self, claims: Mapping[str, JSONValue], now: float) -> Reason | None:
        """Return why the role rejects a token's times, or None."""
        end, begin, issued = (_number(claims.get(name)) for name in ("exp", "nbf", "iat"))
        if self.expiration is not None and end is not None and now >= end + self.expiration:
            return Reason.TOKEN_EXPIRED
        for start, leeway in ((begin, self.not_before), (issued, self.issued_at)):
            if leeway is not None and start is not None and start > now + leeway:
                return Reason.TOKEN_NOT_YET_VALID
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Requirements on every token that a policy allows, and how the identity is named to the app.

    `user` and `groups` point to claims that replace the username and groups in the headers; `headers` adds headers from
    claims. Lists, rules and access reviews still use the verified identity.
    """

    audiences: frozenset[str] | None = None
    subject: str | None = None
    claims: tuple[BoundClaim, ...] = ()
    user: JSONPointer | None = None
    groups: JSONPointer | None = None
    headers: tuple[MappedHeader, ...] = ()
    leeways: Leeways | None = None
    max_lifetime: float | None = None

    def refuses(self, case: PolicyInput) -> tuple[Reason, str] | None:
        """Return why the token does not meet the role and a detail for the audit log, or None if it does."""
        if self.audiences is not None and self.audiences.isdisjoint(case.identity.audiences):
            return Reason.AUDIENCE_MISMATCH, "role.boundAudiences"
        if case.claims is None:
            return Reason.NOT_ALLOWED, "role: the token's claims are unknown, because TokenReview verified it"
        claims = case.claims.members
        if self.subject is not None and claims.get("sub") != self.subject:
            return Reason.NOT_ALLOWED, "role.boundSubject"
        for bound in self.claims:
            if not bound.holds(claims):
                return Reason.NOT_ALLOWED, f"role.boundClaims {bound.pointer.text}"
        if self.max_lifetime is not None and not _lifetime_is_at_most(claims, self.max_lifetime):
            return Reason.TOKEN_LIFETIME_TOO_LONG, "role.maxTokenLifetime"
        if self.leeways is not None and case.now is not None:
            reason = self.leeways.refuses(claims, case.now)
            if reason is not None:
                return reason, "role's leeways"
        return None

    def rename(self, identity: Identity, claims: Mapping[str, JSONValue]) -> Identity | str:
        """Return the identity with the names for the app, or why that is not possible.

        A claim cannot give an identity a name that is reserved for Kubernetes (`system:…`), unless it already has it.
        """
        username, groups = identity.username, identity.groups
        if self.user is not None:
            found = trusted(self.user, claims)
            if not isinstance(found, str) or not found:
                return "role.userClaim is missing, empty, not a string, or an unverified email address"
            username = found
        if self.groups is not None:
            listed = trusted(self.groups, claims)
            listed = [listed] if isinstance(listed, str) else listed
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                return "role.groupsClaim is missing or not a list of strings"
            groups = tuple(str(item) for item in listed)
        own = {identity.username, *identity.groups}
        names = [name for name in (username, *groups) if name not in own]
        if any(name.startswith(_SYSTEM) for name in names):
            return 'role.userClaim or groupsClaim has a name that starts with "system:"'
        if not all(map(is_clean, names)):
            return "role.userClaim or groupsClaim has control characters"
        return replace(identity, username=username, groups=groups)


def _same(found: JSONValue, value: Scalar) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(found, str) or isinstance(value, str):
        return isinstance(found, str) and found == value
    return isinstance(found, int | float) and found == value


def _number(value: JSONValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _lifetime_is_at_most(claims: Mapping[str, JSONValue], seconds: float) -> bool:
    end, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    return end is not None and issued is not None and end - issued <= seconds
