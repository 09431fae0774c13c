"""The SelfSubjectAccessReview exchange: may the gate's own account do this (`authorization.k8s.io/v1`)?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.strict_json import StrictJSONError, parse_object

PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
MAX_ANSWER: Final = 1 << 16
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Action:
    """A verb on the resource of an API group by every name, in one namespace or (None) in all of them."""

    verb: str
    group: str
    resource: str
    namespace: str | None = None


def check_request(action: Action) -> dict[str, object]:
    """Return the object to post."""
    attributes = {"verb": action.verb, "group": action.group, "resource": action.resource}
    if action.namespace is not None:
        attributes["namespace"] = action.namespace
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def parse_check(body: bytes) -> bool:
    """Tell whether the action is allowed: only where the answer literally says so; raises `ApiError` (bad_answer)."""
    try:
        answer = parse_object(body)
    except StrictJSONError as error:
        raise _bad(str(error)) from None
    status = answer.get("status")
    if answer.get("kind") != "SelfSubjectAccessReview" or not isinstance(status, dict):
        raise _bad("its kind is another, or it has no status")
    allowed = status.get("allowed")
    if not isinstance(allowed, bool):
        raise _bad("status.allowed is no boolean")
    return allowed


def _bad(problem: str) -> ApiError:
    return ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is no usable SelfSubjectAccessReview: {problem}")
