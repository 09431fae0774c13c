from __future__ import annotations

from typing import Any

import pytest

from authgate.cluster.access_check import Action, check_request, parse_check
from authgate.cluster.api import ApiError, ApiErrorKind


def test_what_is_asked() -> None:
    """A verb on a resource of a group."""
    assert check_request(Action("create", "authentication.k8s.io", "tokenreviews"))["spec"] == {
        "resourceAttributes": {
            "verb": "create",
            "group": "authentication.k8s.io",
            "resource": "tokenreviews",
        }
    }


def test_what_is_asked_of_one_namespace() -> None:
    """Without one, it is about all of them."""
    spec: Any = check_request(Action("list", "", "pods", "prod"))["spec"]
    assert spec["resourceAttributes"]["namespace"] == "prod"


@pytest.mark.parametrize("allowed", [True, False])
def test_an_answer_is_yes_or_no(allowed: bool) -> None:
    """As it stands in the status."""
    body = f'{{"kind": "SelfSubjectAccessReview", "status": {{"allowed": {str(allowed).lower()}}}}}'
    assert parse_check(body.encode()) is allowed


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"kind": "SelfSubjectAccessReview"}',
        b'{"kind": "Other", "status": {"allowed": true}}',
        b'{"kind": "SelfSubjectAccessReview", "status": {"allowed": "true"}}',
        b'{"kind": "SelfSubjectAccessReview", "status": {}}',
    ],
    ids=["page", "no status", "other kind", "text", "nothing said"],
)
def test_any_other_answer_is_neither(body: bytes) -> None:
    """It is a bad answer, and never a yes."""
    with pytest.raises(ApiError) as caught:
        parse_check(body)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
