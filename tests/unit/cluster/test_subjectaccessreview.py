"""What SubjectAccessReview is asked, and what counts as its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authgate.cluster.api import (
    AccessAnswer,
    ApiError,
    ApiErrorKind,
    NonResourceAttributes,
    ResourceAttributes,
)
from authgate.cluster.subjectaccessreview import parse_review, review_request
from authgate.model import Identity

SOMEBODY = Identity("alice", "uid-1", ("g", "h"), (("a", ("1", "2")), ("z", ("3",))), email="a@example.com")


def parse(status: object, kind: object = "SubjectAccessReview") -> AccessAnswer:
    """The answer with this status, parsed."""
    return parse_review(json.dumps({"kind": kind, "status": status}).encode())


def test_the_whole_identity_is_sent() -> None:
    """Name, uid, groups and every extra value, as authorization.k8s.io/v1 wants them; nothing else of it."""
    spec = review_request(SOMEBODY, NonResourceAttributes("/metrics", "get"))

    assert spec == {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "alice",
            "uid": "uid-1",
            "groups": ["g", "h"],
            "extra": {"a": ["1", "2"], "z": ["3"]},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        },
    }


def test_every_resource_attribute_is_sent() -> None:
    """Under its own name."""
    attributes = ResourceAttributes("get", "services", "apps", "v1", "prod", "proxy", "web")
    spec: Any = review_request(SOMEBODY, attributes)["spec"]

    assert spec["resourceAttributes"] == {
        "verb": "get",
        "resource": "services",
        "group": "apps",
        "version": "v1",
        "namespace": "prod",
        "subresource": "proxy",
        "name": "web",
    }
    assert "nonResourceAttributes" not in spec


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        pytest.param({"allowed": True}, AccessAnswer(True), id="allowed"),
        pytest.param({"allowed": True, "reason": "RBAC"}, AccessAnswer(True, "RBAC"), id="with a reason"),
        pytest.param(
            {"allowed": True, "evaluationError": "no such role"},
            AccessAnswer(True, "no such role"),
            id="allowed although a rule failed",
        ),
        pytest.param({"allowed": True, "denied": True}, AccessAnswer(False), id="denied is final"),
        pytest.param({"allowed": False, "denied": True}, AccessAnswer(False), id="denied"),
        pytest.param({"allowed": False}, AccessAnswer(False), id="no opinion"),
        pytest.param({}, AccessAnswer(False), id="empty"),
        pytest.param({"allowed": None, "denied": None}, AccessAnswer(False), id="null"),
        pytest.param(
            {"allowed": False, "reason": "a", "evaluationError": "b"}, AccessAnswer(False, "a; b"), id="words"
        ),
        pytest.param({"reason": "a\r\nb"}, AccessAnswer(False, "a b"), id="words on one line"),
    ],
)
def test_an_answer(status: dict[str, Any], answer: AccessAnswer) -> None:
    """Only a plain `allowed: true` is a yes."""
    assert parse(status) == answer


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"kind": "SubjectAccessReview"}', id="no status"),
        pytest.param(b'{"kind": "SubjectAccessReview", "status": []}', id="odd status"),
        pytest.param(b'{"kind": "Status", "status": {"allowed": true}}', id="another kind"),
        pytest.param(b'{"kind": "SubjectAccessReview", "status": {"allowed": "true"}}', id="text"),
        pytest.param(b'{"kind": "SubjectAccessReview", "status": {"allowed": 1}}', id="number"),
        pytest.param(b'{"kind": "SubjectAccessReview", "status": {"denied": "no"}}', id="odd denied"),
        pytest.param(b'{"kind": "SubjectAccessReview", "status": {"reason": 1}}', id="odd reason"),
        pytest.param(
            b'{"kind": "SubjectAccessReview", "status": {"allowed": false, "allowed": true}}', id="twice"
        ),
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    """Neither a yes nor a no."""
    with pytest.raises(ApiError) as caught:
        parse_review(body)

    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
