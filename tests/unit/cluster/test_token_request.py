from __future__ import annotations

import json
from typing import Any

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.token_request import (
    IssuedToken,
    TokenRefusal,
    parse_token,
    read_refusal,
)
from authgate.cluster.transport import RawAnswer
from tests.support.cluster_client import OWN, jwt_of

UNTIL = "2030-01-01T00:00:00Z"


def answer(**changes: Any) -> bytes:
    """Return a TokenRequest as the server does; `status` and `spec` replace members."""
    document = {
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600, **changes.pop("spec", {})},
        "status": {"token": "opaque", "expirationTimestamp": UNTIL, **changes.pop("status", {})},
        **changes,
    }
    return json.dumps(document).encode()


def refusal(message: object, status: int = 403, **details: Any) -> RawAnswer:
    """Return an error in the server's own form."""
    document = {"kind": "Status", "message": message, "details": details}
    return RawAnswer(status, "", json.dumps(document).encode())


def test_the_lifetime_is_the_tokens_own() -> None:
    """The token's own claims are used, not the fields of the answer."""
    token = jwt_of(iat=1000, exp=1600)
    assert parse_token(answer(status={"token": token})) == IssuedToken(token, 600, UNTIL)


@pytest.mark.parametrize(
    "token", ["opaque", jwt_of(exp=5), jwt_of(iat=6, exp=5), jwt_of(iat=True, exp=5)], ids=range(4)
)
def test_a_token_without_times_has_the_lifetime_of_the_answer(token: str) -> None:
    """Then the lifetime of the answer's spec is used."""
    assert parse_token(answer(status={"token": token})).lifetime == 3600


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        answer(kind="TokenReview"),
        answer(status={"token": None}),
        answer(status={"token": ""}),
        answer(status={"token": 5}),
        answer(status={"token": "two words"}),
        answer(status={"token": "x\n"}),
        answer(status={"token": "x" * 70_000}),
        answer(status={"expirationTimestamp": None}),
        answer(status={"expirationTimestamp": "tomorrow"}),
        answer(spec={"expirationSeconds": None}),
        answer(spec={"expirationSeconds": True}),
        answer(spec={"expirationSeconds": -1}),
        b'{"kind": "TokenRequest"}',
        b'{"kind": "TokenRequest", "spec": {}, "status": []}',
    ],
    ids=range(16),
)
def test_any_other_answer_is_no_token(body: bytes) -> None:
    """A page, another kind, or a token that no header can carry is an error, and no part of it is quoted."""
    with pytest.raises(ApiError) as caught:
        parse_token(body)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
    assert len(caught.value.detail) < 150


def test_a_rejection_names_the_user_without_permission() -> None:
    """The missing binding is for that user."""
    message = (
        'serviceaccounts "web" is forbidden: User "system:serviceaccount:a:b" cannot create resource'
        ' "serviceaccounts/token" in API group "" in the namespace "prod"'
    )
    assert read_refusal(refusal(message), None).user == "system:serviceaccount:a:b"


def test_a_rejection_names_the_missing_object() -> None:
    """The resource is in the details of the Status."""
    assert read_refusal(refusal('pods "x" not found', 404, kind="pods"), None) == TokenRefusal(
        404, 'pods "x" not found', "pods"
    )


@pytest.mark.parametrize(
    "raw",
    [RawAnswer(403, "", b"<html>"), refusal(5), refusal("no", kind=5), RawAnswer(403, "", b'{"details": 1}')],
    ids=["page", "no text", "no kind", "no details"],
)
def test_a_rejection_needs_only_the_http_status(raw: RawAnswer) -> None:
    """The body may have another form."""
    read = read_refusal(raw, None)
    assert (read.status, read.resource, read.user) == (403, "", "")


def test_a_rejection_does_not_quote_the_gates_own_token() -> None:
    """It is removed from the server's message."""
    assert OWN not in read_refusal(refusal(f"who is {OWN}?"), OWN).message


def test_the_repr_has_no_token() -> None:
    """It can be logged without showing the token."""
    assert "opaque" not in repr(parse_token(answer()))
