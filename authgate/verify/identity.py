"""From a ServiceAccount token's verified claims, or from a review, to an identity, as Kubernetes names users. Pure.

Source: kubernetes pkg/serviceaccount/claims.go. The tokens of other issuers are in mapped.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.json_pointer import kind_of
from authgate.model import Identity, Rejected, ServiceAccount
from authgate.text import intern_text, is_clean
from authgate.vocabulary import (
    AUTHENTICATED_GROUP,
    CREDENTIAL_ID,
    NODE_NAME,
    NODE_UID,
    POD_NAME,
    POD_UID,
    SERVICE_ACCOUNT_PREFIX,
    SERVICE_ACCOUNTS_GROUP,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.cluster.api import ReviewedUser
    from authgate.model import JSONValue, VerifiedClaims


class RefusedError(Exception):
    """A claim cannot become part of an identity; the message names the claim, never its value."""


def cluster_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, cluster: str
) -> Identity | Rejected:
    """Return the identity of a ServiceAccount token, equal to the one that TokenReview gives for it."""
    try:
        return _cluster_identity(claims.members, cluster, issuer, audiences)
    except RefusedError as error:
        return Rejected(Reason.IDENTITY_INVALID, str(error))


def reviewed_identity(user: ReviewedUser, cluster: str, issuer: str, audiences: tuple[str, ...]) -> Identity:
    """Return the identity of a token that TokenReview authenticated."""
    account = None
    parts = user.username.removeprefix(SERVICE_ACCOUNT_PREFIX).split(":")
    if user.username.startswith(SERVICE_ACCOUNT_PREFIX) and len(parts) == 2 and all(parts):
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


def clean(what: str, value: object, *, empty: bool = False) -> str:
    """Return a text that may be part of an identity; raises `RefusedError`, which says what is none, not its value."""
    if not isinstance(value, str):
        raise RefusedError(
            f"{what} is {'missing or null' if value is None else kind_of(value)}, not a string"
        )
    if not (value or empty):
        raise RefusedError(f"{what} is empty")
    if not is_clean(value):
        raise RefusedError(f"{what} holds control characters or lone surrogates")
    return value


def _cluster_identity(
    members: Mapping[str, JSONValue], cluster: str, issuer: str, audiences: tuple[str, ...]
) -> Identity:
    private = members.get("kubernetes.io")
    if not isinstance(private, dict):
        raise RefusedError("claim 'kubernetes.io' is missing or no object")
    namespace = clean("claim 'kubernetes.io.namespace'", private.get("namespace"))
    name, uid = _reference(private, "serviceaccount", required=True)
    extra: dict[str, str] = {}
    jti = members.get("jti")
    if isinstance(jti, str) and jti:
        extra[CREDENTIAL_ID] = "JTI=" + clean("claim 'jti'", jti)
    for kind, name_key, uid_key in (("pod", POD_NAME, POD_UID), ("node", NODE_NAME, NODE_UID)):
        object_name, object_uid = _reference(private, kind, required=False)
        # kubernetes pkg/serviceaccount/util.go: a pod is named with its uid or not at all, a node also without
        if object_name and (object_uid or kind == "node"):
            extra[name_key] = object_name
        if object_name and object_uid:
            extra[uid_key] = object_uid
    return Identity(
        username=intern_text(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),  # an account's tokens are many
        uid=intern_text(uid),
        groups=(
            SERVICE_ACCOUNTS_GROUP,
            intern_text(f"{SERVICE_ACCOUNTS_GROUP}:{namespace}"),
            AUTHENTICATED_GROUP,
        ),
        extra=tuple(sorted((key, (value,)) for key, value in extra.items())),
        issuer=issuer,
        issuer_name=cluster,
        cluster=cluster,
        service_account=ServiceAccount(intern_text(namespace), intern_text(name)),
        audiences=audiences,
    )


def _reference(private: Mapping[str, JSONValue], kind: str, *, required: bool) -> tuple[str, str]:
    reference = private.get(kind)
    if reference is None and not required:
        return "", ""
    if not isinstance(reference, dict):
        raise RefusedError(f"claim 'kubernetes.io.{kind}' is missing or no object")
    name = clean(f"claim 'kubernetes.io.{kind}.name'", reference.get("name"))
    return name, clean(f"claim 'kubernetes.io.{kind}.uid'", reference.get("uid", ""), empty=True)
