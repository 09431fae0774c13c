"""SelfSubjectAccessReview: what a caller may do (Kubernetes pkg/registry/authorization/selfsubjectaccessreview)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from authgate.dev import status
from authgate.dev.api_body import members, text
from authgate.dev.compact import JsonObject
from authgate.dev.kube import ANONYMOUS, KubeState, Permission, User

_PERMISSIONS: Final[Mapping[tuple[str, str, str], Permission]] = {
    ("create", "authentication.k8s.io", "tokenreviews"): Permission.REVIEW_TOKENS,
    ("create", "authorization.k8s.io", "subjectaccessreviews"): Permission.REVIEW_TOKENS,
    ("create", "", "serviceaccounts/token"): Permission.REQUEST_TOKENS,
}
"""Both kinds of review belong to the ClusterRole system:auth-delegator."""


def answer_self_access(state: KubeState, user: User, body: Mapping[str, object]) -> web.Response:
    """The review with its verdict; raises BadBodyError for fields of the wrong type.

    Everybody who is authenticated may ask (system:basic-user).
    """
    if user.username == ANONYMOUS:
        message = (
            f'selfsubjectaccessreviews.authorization.k8s.io is forbidden: User "{user.username}" cannot create'
            ' resource "selfsubjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope'
        )
        return status.failure(403, "Forbidden", message)
    attributes = members(members(body, "spec"), "resourceAttributes")
    action = (text(attributes, "verb"), text(attributes, "group"), text(attributes, "resource"))
    permission = _PERMISSIONS.get(action)
    asked = {name: str(value) for name, value in attributes.items() if value}
    allowed = (permission is not None and state.is_allowed(user, permission)) or any(
        state.is_granted(name, asked) for name in (user.username, *user.groups)
    )
    answer: JsonObject = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {"resourceAttributes": dict(attributes)},
        "status": {"allowed": allowed},
    }
    return status.answer(answer, 201)
