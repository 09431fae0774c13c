"""Which answers of SubjectAccessReview allow, deny, or decide nothing. SelfSubjectAccessReview has the same status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authgate.cluster.api import (
    AccessAnswer,
    ApiError,
    ApiErrorKind,
)
from authgate.cluster.reviews import parse_access_review

KIND = "SubjectAccessReview"


def parse(status: object, kind: object = KIND) -> AccessAnswer:
    """Return the parsed answer with this status."""
    return parse_access_review(KIND, json.dumps({"kind": kind, "status": status}).encode())


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
def test_only_allowed_true_allows(status: dict[str, Any], answer: AccessAnswer) -> None:
    """Only `allowed: true` allows. Other valid answers deny."""
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
def test_any_other_answer_decides_nothing(body: bytes) -> None:
    """It is an error, and neither allows nor denies."""
    with pytest.raises(ApiError) as caught:
        parse_access_review(KIND, body)

    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
