"""The identity of a ServiceAccount token, from its verified claims or from a TokenReview. Pure.

Source: kubernetes pkg/serviceaccount/claims.go. For tokens of `jwt` issuers see mapped.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from authgate.errors import Reason
from authgate.json_pointer import kind_of
from authgate.model import Identity, Rejected, ServiceAccount
from authgate.text import intern_text, is_clean
from authgate.verify.recognition import IdentityClaims
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
    """A claim cannot be part of an identity. The message names the claim, not its value."""


def cluster_identity(
    claims: VerifiedClaims, issuer: str, audiences: tuple[str, ...], *, cluster: str
) -> Identity | Rejected:
    """Return the identity of a ServiceAccount token; TokenReview would return the same."""
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
    """Return a text that can be part of an identity; raises `RefusedError` with `what`, not with the value."""
    if not isinstance(value, str):
        raise RefusedError(
            f"{what} is {'missing or null' if value is None else kind_of(value)}, not a string"
        )
    if not (value or empty):
        raise RefusedError(f"{what} is empty")
    if not is_clean(value):
        raise RefusedError(f"{what} contains control characters or lone surrogates")
    return value


def _cluster_identity(
    members: Mapping[str, JSONValue], cluster: str, issuer: str, audiences: tuple[str, ...]
) -> Identity:
    private = members.get("kubernetes.io")
    if not isinstance(private, dict):
        raise RefusedError("claim 'kubernetes.io' is missing or not an object")
    namespace = clean("claim 'kubernetes.io.namespace'", private.get("namespace"))
    name, uid = _reference(private, "serviceaccount", required=True)
    jti = members.get("jti")
    jti = clean("claim 'jti'", jti) if isinstance(jti, str) and jti else ""
    pod, node = _reference(private, "pod", required=False), _reference(private, "node", required=False)
    return Identity(
        username=intern_text(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),  # an account has many tokens
        uid=intern_text(uid),
        groups=(
            SERVICE_ACCOUNTS_GROUP,
            intern_text(f"{SERVICE_ACCOUNTS_GROUP}:{namespace}"),
            AUTHENTICATED_GROUP,
        ),
        extra=_extra(*pod, *node, jti),
        issuer=issuer,
        issuer_name=cluster,
        cluster=cluster,
        service_account=ServiceAccount(intern_text(namespace), intern_text(name)),
        audiences=audiences,
    )


def _extra(
    pod: str, pod_uid: str, node: str, node_uid: str, jti: str
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    extra: dict[str, str] = {}
    if jti:
        extra[CREDENTIAL_ID] = "JTI=" + jti
    # kubernetes pkg/serviceaccount/util.go: a pod needs a uid, a node does not
    if pod and pod_uid:
        extra[POD_NAME] = pod
        extra[POD_UID] = pod_uid
    if node:
        extra[NODE_NAME] = node
        if node_uid:
            extra[NODE_UID] = node_uid
    return tuple(sorted((key, (value,)) for key, value in extra.items()))


def _rebuilt(identity: Identity, personal: tuple[str, ...]) -> Identity:
    pod, pod_uid, node, node_uid, jti = personal
    return replace(identity, extra=_extra(pod, pod_uid, node, node_uid, jti))


_PRIVATE = "kubernetes.io"
CLUSTER_CLAIMS: Final = IdentityClaims(
    shared=((_PRIVATE, "namespace"), (_PRIVATE, "serviceaccount")),
    personal=(
        (_PRIVATE, "pod", "name"),
        (_PRIVATE, "pod", "uid"),
        (_PRIVATE, "node", "name"),
        (_PRIVATE, "node", "uid"),
        ("jti",),
    ),
    rebuild=_rebuilt,
    filled=True,
)
"""What `cluster_identity` reads."""


def _reference(private: Mapping[str, JSONValue], kind: str, *, required: bool) -> tuple[str, str]:
    reference = private.get(kind)
    if reference is None and not required:
        return "", ""
    if not isinstance(reference, dict):
        raise RefusedError(f"claim 'kubernetes.io.{kind}' is missing or not an object")
    name = clean(f"claim 'kubernetes.io.{kind}.name'", reference.get("name"))
    return name, clean(f"claim 'kubernetes.io.{kind}.uid'", reference.get("uid", ""), empty=True)
