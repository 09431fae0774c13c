"""From verified claims to an identity, as the kube-apiserver names users. Pure.

Sources: kubernetes pkg/serviceaccount/claims.go for ServiceAccount tokens;
staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go for the tokens of other issuers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.model import POD_NAME, Identity, Rejected, ServiceAccount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.cluster.api import ReviewedUser
    from authgate.model import JSONValue, VerifiedClaims

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
NODE_UID = "authentication.kubernetes.io/node-uid"

AUTHENTICATED_GROUP = "system:authenticated"
_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_SERVICE_ACCOUNTS_GROUP = "system:serviceaccounts"
_ANONYMOUS_USER = "system:anonymous"
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class PrefixedClaim:
    """A claim whose value, after a literal prefix, names a user or a group."""

    claim: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class RequiredClaim:
    """A claim that must be a string of exactly this value."""

    claim: str
    value: str


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """How a `jwt` issuer's claims become an identity (kube-apiserver's claimMappings and claimValidationRules)."""

    username: PrefixedClaim
    groups: PrefixedClaim | None = None
    uid: str | None = None
    required: tuple[RequiredClaim, ...] = ()


class _RefusedError(Exception):
    """A claim cannot become part of an identity; the message names the claim, never its value."""


def cluster_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, cluster: str
) -> Identity | Rejected:
    """Return the identity of a ServiceAccount token, equal to the one that TokenReview gives for it."""
    try:
        return _cluster_identity(claims.members, cluster, issuer, audiences)
    except _RefusedError as error:
        return Rejected(Reason.IDENTITY_INVALID, str(error))


def reviewed_identity(user: ReviewedUser, cluster: str, issuer: str, audiences: tuple[str, ...]) -> Identity:
    """Return the identity of a token that TokenReview authenticated."""
    account = None
    parts = user.username.removeprefix(_SERVICE_ACCOUNT_PREFIX).split(":")
    if user.username.startswith(_SERVICE_ACCOUNT_PREFIX) and len(parts) == 2 and all(parts):
        account = ServiceAccount(parts[0], parts[1])
    return Identity(
        username=user.username,
        uid=user.uid,
        groups=user.groups,
        extra=user.extra,
        issuer=issuer,
        issuer_name=cluster,
        cluster=cluster,
        service_account=account,
        audiences=audiences,
    )


def mapped_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, rules: ClaimRules, issuer_name: str
) -> Identity | Rejected:
    """Return the identity that claim mappings give, or which validation rule or mapping refuses the token."""
    members = claims.members
    for rule in rules.required:
        value = members.get(rule.claim)
        if rule.claim not in members or not (
            value == rule.value if isinstance(value, str) else value is None and rule.value == ""
        ):
            return Rejected(
                Reason.CLAIM_RULE_FAILED, f"claim '{rule.claim}' does not have the required value"
            )
    try:
        username = _username(members, rules.username)
        groups = _groups(members, rules.groups) if rules.groups else ()
        if username != _ANONYMOUS_USER and AUTHENTICATED_GROUP not in groups:
            groups = (*groups, AUTHENTICATED_GROUP)
        return Identity(
            username=username,
            uid=_uid(members, rules.uid) if rules.uid else "",
            groups=groups,
            extra=_credential_id(members),
            issuer=issuer,
            issuer_name=issuer_name,
            audiences=audiences,
            email=_optional(members, "email") if _email_may_be_used(members) else "",
            preferred_username=_optional(members, "preferred_username"),
        )
    except _RefusedError as error:
        return Rejected(Reason.IDENTITY_INVALID, str(error))


def is_clean(value: str) -> bool:
    """Tell whether a value holds no control character and no lone surrogate, so that headers and logs can carry it."""
    return (
        value.isprintable() or _UNSAFE.search(value) is None
    )  # what is printable is neither, and tells sooner


def _cluster_identity(
    members: Mapping[str, JSONValue], cluster: str, issuer: str, audiences: tuple[str, ...]
) -> Identity:
    private = members.get("kubernetes.io")
    if not isinstance(private, dict):
        raise _RefusedError("claim 'kubernetes.io' is missing or no object")
    namespace = _clean("kubernetes.io.namespace", private.get("namespace"))
    name, uid = _reference(private, "serviceaccount", required=True)
    extra: dict[str, str] = {}
    jti = members.get("jti")
    if isinstance(jti, str) and jti:
        extra[CREDENTIAL_ID] = "JTI=" + _clean("jti", jti)
    for kind, name_key, uid_key in (("pod", POD_NAME, POD_UID), ("node", NODE_NAME, NODE_UID)):
        object_name, object_uid = _reference(private, kind, required=False)
        # kubernetes pkg/serviceaccount/util.go: a pod is named with its uid or not at all, a node also without
        if object_name and (object_uid or kind == "node"):
            extra[name_key] = object_name
        if object_name and object_uid:
            extra[uid_key] = object_uid
    return Identity(
        username=f"{_SERVICE_ACCOUNT_PREFIX}{namespace}:{name}",
        uid=uid,
        groups=(_SERVICE_ACCOUNTS_GROUP, f"{_SERVICE_ACCOUNTS_GROUP}:{namespace}", AUTHENTICATED_GROUP),
        extra=tuple(sorted((key, (value,)) for key, value in extra.items())),
        issuer=issuer,
        issuer_name=cluster,
        cluster=cluster,
        service_account=ServiceAccount(namespace, name),
        audiences=audiences,
    )


def _reference(private: Mapping[str, JSONValue], kind: str, *, required: bool) -> tuple[str, str]:
    reference = private.get(kind)
    if reference is None and not required:
        return "", ""
    if not isinstance(reference, dict):
        raise _RefusedError(f"claim 'kubernetes.io.{kind}' is missing or no object")
    name = _clean(f"kubernetes.io.{kind}.name", reference.get("name"))
    return name, _clean(f"kubernetes.io.{kind}.uid", reference.get("uid", ""), empty=True)


def _clean(claim: str, value: JSONValue, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise _RefusedError(f"claim '{claim}' is missing, empty or no string")
    if not is_clean(value):
        raise _RefusedError(f"claim '{claim}' holds control characters or lone surrogates")
    return value


def _refuse_unverified(members: Mapping[str, JSONValue], claim: str) -> None:
    # the kube-apiserver looks at this for the username only; a group or uid by an unproven address is no better
    if claim == "email" and not _email_may_be_used(members):
        raise _RefusedError("claim 'email' is not verified: 'email_verified' is not true")


def _email_may_be_used(members: Mapping[str, JSONValue]) -> bool:
    return members.get("email_verified", True) is True


def _username(members: Mapping[str, JSONValue], mapping: PrefixedClaim) -> str:
    if mapping.claim not in members:
        raise _RefusedError(f"claim '{mapping.claim}', the username, is missing")
    _refuse_unverified(members, mapping.claim)
    value = members[mapping.claim]
    username = mapping.prefix + _clean(mapping.claim, "" if value is None else value, empty=True)
    if not username:
        raise _RefusedError(f"claim '{mapping.claim}', the username, is empty")
    return username


def _groups(members: Mapping[str, JSONValue], mapping: PrefixedClaim) -> tuple[str, ...]:
    _refuse_unverified(members, mapping.claim)
    value = members.get(mapping.claim)
    items: Iterable[JSONValue]
    if value is None:
        items = ()
    elif isinstance(value, list):
        items = value
    else:
        items = (value,)
    return tuple(
        mapping.prefix + _clean(mapping.claim, "" if item is None else item, empty=True) for item in items
    )


def _uid(members: Mapping[str, JSONValue], claim: str) -> str:
    if claim not in members:
        raise _RefusedError(f"claim '{claim}', the uid, is missing")
    _refuse_unverified(members, claim)
    value = members[claim]
    return _clean(claim, "" if value is None else value, empty=True)


def _credential_id(members: Mapping[str, JSONValue]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    jti = members.get("jti")
    if not isinstance(jti, str) or not jti:
        return ()
    return ((CREDENTIAL_ID, ("JTI=" + _clean("jti", jti),)),)


def _optional(members: Mapping[str, JSONValue], claim: str) -> str:
    """Return a claim that only informs; what is no clean string is left out, since nothing is decided by it."""
    value = members.get(claim)
    return value if isinstance(value, str) and is_clean(value) else ""
