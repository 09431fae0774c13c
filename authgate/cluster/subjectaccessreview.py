"""The SubjectAccessReview exchange: what is sent, and a strict reading of the answer (`authorization.k8s.io/v1`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authgate.cluster.api import AccessAnswer, ApiError, ApiErrorKind, NonResourceAttributes
from authgate.cluster.wording import clean
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.cluster.api import AccessAttributes
    from authgate.model import Identity, JSONValue

PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer that are read: the server repeats what it was asked."""


def review_request(identity: Identity, attributes: AccessAttributes) -> dict[str, object]:
    """Return the object to post: may `identity`, with all that is known of it, do this?"""
    spec: dict[str, object] = {
        "user": identity.username,
        "uid": identity.uid,
        "groups": list(identity.groups),
        "extra": {key: list(values) for key, values in identity.extra},
    }
    if isinstance(attributes, NonResourceAttributes):
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    else:
        spec["resourceAttributes"] = {
            "namespace": attributes.namespace,
            "group": attributes.group,
            "version": attributes.version,
            "resource": attributes.resource,
            "subresource": attributes.subresource,
            "name": attributes.name,
            "verb": attributes.verb,
        }
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def parse_review(body: bytes) -> AccessAnswer:
    """Read a SubjectAccessReview's status; raises `ApiError` (bad_answer) for anything but a clear yes or no.

    `allowed` counts only where it is literally true, and never beside `denied`. An `evaluationError` beside `allowed`
    changes nothing, as for the API server itself. Null and missing are the same, as for Go.
    """
    try:
        answer = parse_object(body)
    except StrictJSONError as error:
        raise _bad(str(error)) from None
    if answer.get("kind") != "SubjectAccessReview":
        raise _bad("its kind is not SubjectAccessReview")
    status = answer.get("status")
    if not isinstance(status, dict):
        raise _bad("it has no status")
    allowed, denied = _flag(status, "allowed"), _flag(status, "denied")
    words = [text for text in (_text(status, "reason"), _text(status, "evaluationError")) if text]
    return AccessAnswer(allowed and not denied, clean("; ".join(words)))


def _flag(status: Mapping[str, JSONValue], name: str) -> bool:
    value = status.get(name)
    if value is not None and not isinstance(value, bool):
        raise _bad(f"status.{name} is no boolean")
    return value is True


def _text(status: Mapping[str, JSONValue], name: str) -> str:
    value = status.get(name)
    if value is not None and not isinstance(value, str):
        raise _bad(f"status.{name} is no string")
    return value or ""


def _bad(problem: str) -> ApiError:
    return ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is no usable SubjectAccessReview: {problem}")
