"""SubjectAccessReview and SelfSubjectAccessReview, over permissions that are granted one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from authgate.dev import messages
from authgate.dev.compact import JsonObject
from authgate.dev.kube import ANONYMOUS, MASTERS, KubeState, Permission, User
from authgate.dev.messages import members, strings, text

_KINDS: Final = ("nonResourceAttributes", "resourceAttributes")
_PERMISSIONS: Final[Mapping[tuple[str, str, str], Permission]] = {
    ("create", "authentication.k8s.io", "tokenreviews"): Permission.REVIEW_TOKENS,
    ("create", "authorization.k8s.io", "subjectaccessreviews"): Permission.REVIEW_TOKENS,
    ("create", "", "serviceaccounts/token"): Permission.REQUEST_TOKENS,
}
"""The ClusterRole system:auth-delegator allows both kinds of review."""


def review_access(state: KubeState, spec: Mapping[str, object]) -> JsonObject:
    """Return the status of a SubjectAccessReview; raises BadBodyError for fields of the wrong type.

    A permission applies only to exactly the attributes that it was granted with: there are no wildcards.
    """
    groups = strings(spec, "groups")
    asked = {name: str(value) for kind in _KINDS for name, value in members(spec, kind).items() if value}
    names = (text(spec, "user"), *groups)
    if MASTERS in groups or any(state.is_granted(name, asked) for name in names):
        return {"allowed": True, "reason": f"granted to {names[0]} or a group"}
    return {"allowed": False, "reason": f"no permission of {names[0]} matches"}


def answer_self_access(state: KubeState, user: User, body: Mapping[str, object]) -> web.Response:
    """Return the response to a SelfSubjectAccessReview; raises BadBodyError for fields of the wrong type.

    Every authenticated user may create one (system:basic-user).
    """
    if user.username == ANONYMOUS:
        return messages.forbidden_to_create(user, "selfsubjectaccessreviews", "authorization.k8s.io")
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
    return messages.answer(answer, 201)
