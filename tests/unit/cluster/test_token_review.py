"""Which answers of TokenReview accept a token, reject it, or decide nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewAnswer, ReviewedUser
from authgate.cluster.reviews import parse_token_review

TOKEN = "reviewed-token-0123456789"


def parse(status: object, kind: str = "TokenReview") -> ReviewAnswer:
    """Return the parsed answer with this status."""
    return parse_token_review(json.dumps({"kind": kind, "status": status}).encode(), TOKEN)


def good(**user: Any) -> dict[str, Any]:
    """Return the status of an authenticated user with these members."""
    return {"authenticated": True, "user": {"username": "alice", **user}}


def test_every_member_of_a_user_is_read() -> None:
    """The extra is sorted by key."""
    status = good(uid="u-1", groups=["g", "h"], extra={"z": ["1"], "a": ["2", "3"]})
    status["audiences"] = ["app"]
    assert parse(status) == ReviewedUser(
        username="alice",
        uid="u-1",
        groups=("g", "h"),
        extra=(("a", ("2", "3")), ("z", ("1",))),
        audiences=("app",),
    )


@pytest.mark.parametrize(
    "user",
    [{}, {"uid": None, "groups": None, "extra": None}, {"uid": "", "groups": [], "extra": {}}],
    ids=["missing", "null", "empty"],
)
def test_missing_null_and_empty_members_are_the_same(user: dict[str, Any]) -> None:
    """In all three forms the user has empty members."""
    assert parse(good(**user)) == ReviewedUser("alice", "", (), (), ())


def test_an_extra_key_with_null_has_no_values() -> None:
    """Go writes an empty list as null."""
    assert parse(good(extra={"k": None})) == ReviewedUser("alice", "", (), (("k", ()),), ())


def test_names_may_have_any_characters() -> None:
    """They are unchanged."""
    assert parse(good(groups=["Büro", "開発"])) == ReviewedUser("alice", "", ("Büro", "開発"), (), ())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"error": "expired"}, "expired"),
        ({"authenticated": False}, ""),
        ({"authenticated": None}, ""),
        ({}, ""),
        ({"authenticated": False, "user": {"username": "alice"}}, ""),
        ({"error": f"no {TOKEN}\n\x1b[31mhere"}, "no [token] [31mhere"),
        ({"error": "x" * 300}, "x" * 199 + "…"),
    ],
    ids=["error", "false", "null", "missing", "false with user", "unprintable", "long"],
)
def test_any_other_status_rejects_the_token(status: dict[str, Any], error: str) -> None:
    """Only `authenticated: true` accepts. The server's message is bounded, and the token is removed from it."""
    assert parse(status) == NotAuthenticated(error)


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        "x",
        {"authenticated": "true"},
        {"authenticated": 1},
        {"authenticated": 1.0},
        {"authenticated": []},
        {"authenticated": False, "error": 5},
        {"authenticated": True},
        {"authenticated": True, "user": []},
        {"authenticated": True, "user": {}},
        {"authenticated": True, "error": "but", "user": {"username": "alice"}},
        good(username=""),
        good(username=None),
        good(username=7),
        good(uid=7),
        good(groups="staff"),
        good(groups=["staff", None]),
        good(groups=["staff", 1]),
        good(groups={"staff": True}),
        good(groups=["g"] * 10_001),
        good(extra=[]),
        good(extra={"k": "v"}),
        good(extra={"k": [1]}),
        {**good(), "audiences": "app"},
        {**good(), "audiences": ["app", 1]},
        *(good(**{name: f"a{bad}"}) for name in ("username", "uid") for bad in "\x00\n\x1f\x7f\x9f\ud800"),
        good(groups=["g\r\nX: y"]),
        good(extra={"k\n": ["v"]}),
        good(extra={"k": ["v\x85"]}),
    ],
)
def test_an_ambiguous_status_is_an_error(status: object) -> None:
    """It neither accepts nor rejects the token."""
    with pytest.raises(ApiError) as caught:
        parse(status)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"kind": "Status", "status": "Failure"}',
        b'{"kind": "TokenReview", "status": {"authenticated": true, "user": {"username": NaN}}}',
        b'{"kind": "TokenReview", "x": ' + b"9" * 10_000 + b"}",
        b'{"kind": "TokenReview", "status": ' + b"[" * 200_000,
        b'{"kind": "TokenReview", "status": {"authenticated": true, "authenticated": false}}',
    ],
    ids=["empty", "no UTF-8", "array", "null", "kind", "NaN", "long number", "deep", "twice"],
)
def test_a_body_that_is_not_a_token_review_is_an_error(body: bytes) -> None:
    """It does not raise an unexpected exception."""
    with pytest.raises(ApiError) as caught:
        parse_token_review(body, TOKEN)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
