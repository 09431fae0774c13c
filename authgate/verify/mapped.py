"""The identity of a `jwt` issuer's token, mapped and validated as in kube-apiserver. Pure.

Source: kubernetes staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.expressions import Failed, Variables
from authgate.json_pointer import Missing, claim_pointer
from authgate.model import Identity, Rejected
from authgate.text import intern_text, is_clean
from authgate.verify.claims import GROUPS_OMITTED, omits_groups, trust_domain_of
from authgate.verify.identity import RefusedError, clean
from authgate.verify.recognition import IdentityClaims
from authgate.vocabulary import AUTHENTICATED_GROUP, CREDENTIAL_ID, UNAUTHENTICATED_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.expressions import Expression
    from authgate.model import JSONValue, VerifiedClaims
    from authgate.verify.jwt import Identify

_ANONYMOUS_USER = "system:anonymous"


@dataclass(frozen=True, slots=True)
class PrefixedClaim:
    """A claim (its name or a JSON pointer) whose value, after a literal prefix, is a user or group name."""

    claim: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class RequiredClaim:
    """A claim that must be a string with exactly this value."""

    claim: str
    value: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """An expression over `claims` for a part of the identity; `place` is its path in the configuration."""

    place: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression that must be true, and the message if it is not."""

    place: str
    expression: Expression
    message: str = ""


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """How a `jwt` issuer's claims become an identity (kube-apiserver's claimMappings and validation rules).

    `extra` maps keys to expressions. `claims` are conditions over `claims`, `user` are conditions over `user`.
    """

    username: PrefixedClaim | Mapped
    _: KW_ONLY
    groups: PrefixedClaim | Mapped | None = None
    uid: str | Mapped | None = None
    required: tuple[RequiredClaim, ...] = ()
    extra: tuple[tuple[str, Mapped], ...] = ()
    claims: tuple[Condition, ...] = ()
    user: tuple[Condition, ...] = ()


def mapped_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, rules: ClaimRules, issuer_name: str
) -> Identity | Rejected:
    """Return the identity from the claim mappings, or which validation rule or mapping rejects the token."""
    members = claims.members
    variables = Variables(claims=members)
    broken = _broken_requirement(members, rules.required) or _broken(
        rules.claims, variables, Reason.CLAIM_RULE_FAILED
    )
    if broken is not None:
        return broken
    try:
        username = _username(members, variables, rules.username)
        uid = "" if rules.uid is None else _uid(members, variables, rules.uid)
        groups = () if rules.groups is None else _groups(members, variables, rules.groups)
        extra = _extra(members, variables, rules.extra)
    except RefusedError as error:
        return Rejected(Reason.IDENTITY_INVALID, str(error))
    if rules.user:
        user = Variables(user=Identity(username=username, uid=uid, groups=groups, extra=extra))
        broken = _broken(rules.user, user, Reason.USER_RULE_FAILED)
        if broken is not None:
            return broken
    omitted = not groups and rules.groups is not None and omits_groups(members)
    # k8s.io/apiserver, pkg/authentication/group/authenticated_group_adder.go: rules do not see this group
    if (
        username != _ANONYMOUS_USER
        and AUTHENTICATED_GROUP not in groups
        and UNAUTHENTICATED_GROUP not in groups
    ):
        groups = (*groups, AUTHENTICATED_GROUP)
    return Identity(
        username=intern_text(username),  # a user has many tokens, and a group many users
        uid=uid,
        groups=tuple(map(intern_text, groups)),
        extra=extra,
        issuer=issuer,
        issuer_name=issuer_name,
        audiences=audiences,
        email=_optional(members, "email") if not why_unverified(members) else "",
        preferred_username=_optional(members, "preferred_username"),
        omits_groups=omitted,
    )


def claims_of(rules: ClaimRules) -> IdentityClaims | None:
    """Return the claims that `mapped_identity` reads, or None if an expression can read any."""
    if not isinstance(rules.username, PrefixedClaim) or isinstance(rules.groups, Mapped):
        return None
    if isinstance(rules.uid, Mapped) or rules.extra or rules.claims or rules.user:
        return None
    read = [rules.username.claim, *(rule.claim for rule in rules.required)]
    if rules.groups is not None:
        read.append(rules.groups.claim)
    if rules.uid is not None and rules.uid.startswith("/"):
        return None
    uid = rules.uid
    return IdentityClaims(
        shared=(
            *((claim_pointer(claim).member,) for claim in read),
            ("email",),
            ("email_verified",),
            ("preferred_username",),
            ("hasgroups",),
        ),
        personal=(("jti",),) if uid is None else ((uid,), ("jti",)),
        rebuild=_with_credential if uid is None else _with_uid,
    )


def _with_credential(identity: Identity, personal: tuple[str, ...]) -> Identity:
    return replace(identity, extra=_credential(personal[0]))


def _with_uid(identity: Identity, personal: tuple[str, ...]) -> Identity:
    return replace(identity, uid=personal[0], extra=_credential(personal[1]))


def _credential(jti: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ((CREDENTIAL_ID, (f"JTI={jti}",)),) if jti else ()


def tenant_identity(
    claims: VerifiedClaims,
    issuer: str,
    audiences: tuple[str, ...],
    *,
    tenants: Mapping[str, str],
    identify: Identify,
) -> Identity | Rejected:
    """Return the identity of a token of one of several tenants, each by its issuer; `tid` must not name another one."""
    if claims.members.get("tid", tenants[issuer]) != tenants[issuer]:
        return Rejected(Reason.CLAIM_RULE_FAILED, "claim 'tid' is not the tenant in 'iss'")
    return identify(claims, issuer, audiences)


def spiffe_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, trust_domain: str, identify: Identify
) -> Identity | Rejected:
    """Return the identity of a JWT-SVID; `sub` must be a SPIFFE ID of the trust domain, whose keys verify no other."""
    if trust_domain_of(claims.members.get("sub")) != trust_domain:
        return Rejected(Reason.CLAIM_RULE_FAILED, f"claim 'sub' is no SPIFFE ID of spiffe://{trust_domain}")
    return identify(claims, issuer, audiences)


def _broken_requirement(
    members: Mapping[str, JSONValue], required: tuple[RequiredClaim, ...]
) -> Rejected | None:
    for rule in required:
        value = claim_pointer(rule.claim).lookup(members)
        if value != rule.value if isinstance(value, str) else value is not None or rule.value != "":
            why = f": {value.why}" if isinstance(value, Missing) and value.why else ""
            detail = f"claim '{rule.claim}' does not have the required value{why}"
            return Rejected(Reason.CLAIM_RULE_FAILED, detail)
    return None


def _broken(conditions: tuple[Condition, ...], variables: Variables, reason: Reason) -> Rejected | None:
    for condition in conditions:
        held = condition.expression.holds(variables)
        if isinstance(held, Failed):
            return Rejected(reason, f"{condition.place}: {held.detail}")
        if not held:
            return Rejected(reason, f"{condition.place}: {condition.message or 'is not true'}")
    return None


def _value(mapped: Mapped, variables: Variables) -> object:
    value = mapped.expression.evaluate(variables)
    if isinstance(value, Failed):
        raise RefusedError(f"{mapped.place}: {value.detail}")
    return value


def _username(members: Mapping[str, JSONValue], variables: Variables, mapping: PrefixedClaim | Mapped) -> str:
    if isinstance(mapping, Mapped):
        return clean(mapping.place, _value(mapping, variables))
    value = _required(members, mapping.claim, "the username")
    _refuse_unverified(members, mapping.claim)
    username = mapping.prefix + _clean_claim(mapping.claim, "" if value is None else value)
    if not username:
        raise RefusedError(f"claim '{mapping.claim}', the username, is empty")
    return username


def _groups(
    members: Mapping[str, JSONValue], variables: Variables, mapping: PrefixedClaim | Mapped
) -> tuple[str, ...]:
    if isinstance(mapping, Mapped):
        return _texts(mapping, variables)
    _refuse_unverified(members, mapping.claim)
    _refuse_elsewhere(members, mapping.claim)
    value = claim_pointer(mapping.claim).lookup(members)
    items: Iterable[JSONValue]
    if isinstance(value, Missing) and value.blocked:
        raise RefusedError(f"claim '{mapping.claim}', the groups, is missing: {value.why}")
    if value is None or isinstance(value, Missing):
        items = ()
    elif isinstance(value, list):
        items = value
    else:
        items = (value,)
    return tuple(mapping.prefix + _clean_claim(mapping.claim, "" if item is None else item) for item in items)


def _uid(members: Mapping[str, JSONValue], variables: Variables, mapping: str | Mapped) -> str:
    if isinstance(mapping, Mapped):
        return clean(mapping.place, _value(mapping, variables), empty=True)
    value = _required(members, mapping, "the uid")
    _refuse_unverified(members, mapping)
    return _clean_claim(mapping, "" if value is None else value)


def _extra(
    members: Mapping[str, JSONValue], variables: Variables, mappings: tuple[tuple[str, Mapped], ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    jti = members.get("jti")
    credential = ("JTI=" + _clean_claim("jti", jti),) if isinstance(jti, str) and jti else ()
    if not mappings:
        return ((CREDENTIAL_ID, credential),) if credential else ()
    extra = {key: _texts(mapping, variables) for key, mapping in mappings}
    if credential:
        extra[CREDENTIAL_ID] = credential
    return tuple(sorted((key, values) for key, values in extra.items() if values))


def _texts(mapping: Mapped, variables: Variables) -> tuple[str, ...]:
    """Return the strings of an expression's result, without empty ones; null means no strings."""
    value = _value(mapping, variables)
    items = value if isinstance(value, list) else () if value is None else (value,)
    texts = (clean(mapping.place, item, empty=True) for item in items)
    return tuple(text for text in texts if text)


def _required(members: Mapping[str, JSONValue], claim: str, what: str) -> JSONValue:
    value = claim_pointer(claim).lookup(members)
    if isinstance(value, Missing):
        raise RefusedError(f"claim '{claim}', {what}, is missing" + (f": {value.why}" if value.why else ""))
    return value


def _clean_claim(claim: str, value: JSONValue) -> str:
    return clean(f"claim '{claim}'", value, empty=True)


def _refuse_unverified(members: Mapping[str, JSONValue], claim: str) -> None:
    # kube-apiserver checks this only for the username, but an unverified address is as bad in a group or uid
    if claim_pointer(claim).member == "email" and (why := why_unverified(members)):
        raise RefusedError(f"claim 'email' is not verified: {why}")


def _refuse_elsewhere(members: Mapping[str, JSONValue], claim: str) -> None:
    """Reject a distributed claim, which another server returns (OpenID Connect Core 1.0, section 5.6.2)."""
    claim = claim_pointer(claim).member
    if claim in members or "_claim_names" not in members:
        return
    names = members["_claim_names"]
    if "_claim_sources" not in members or (isinstance(names, dict) and claim in names):
        why = f": {GROUPS_OMITTED}" if claim == "groups" and omits_groups(members) else ""
        raise RefusedError(
            f"claim '{claim}' is a distributed claim ('_claim_names'), which authgate does not fetch{why}"
        )


def why_unverified(members: Mapping[str, JSONValue]) -> str:
    """Return why the claim `email` is not used, or "" if `email_verified` is absent or exactly true."""
    verified = members.get("email_verified", True)
    if verified is True:
        return ""
    return f"'email_verified' is {'text, not the value true' if isinstance(verified, str) else 'not true'}"


def _optional(members: Mapping[str, JSONValue], claim: str) -> str:
    """Return an informative claim, or "" if it is not a clean string. Nothing is decided by it."""
    value = members.get(claim)
    return value if isinstance(value, str) and is_clean(value) else ""
