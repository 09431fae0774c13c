"""Strict reading of the answers to TokenReview, SubjectAccessReview and SelfSubjectAccessReview.

kubernetes_asyncio's models are not used here: they read the text "false" as true and a text as a list of characters.
Null and missing mean the same, as in Go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from authgate.cluster.api import (
    AccessAnswer,
    ApiError,
    ApiErrorKind,
    NotAuthenticated,
    ReviewAnswer,
    ReviewedUser,
)
from authgate.cluster.failures import clean
from authgate.strict_json import StrictJSONError, parse_object, string_member

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import JSONValue

_Read = TypeVar("_Read")

_MAX_ITEMS: Final = 10_000
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class UnusableError(Exception):
    """A member of an answer has the wrong form; the message names it and quotes nothing."""


def read_answer_object(kind: str, body: bytes, read: Callable[[Mapping[str, JSONValue]], _Read]) -> _Read:
    """Return what `read` makes of an object of this kind; raises `ApiError` (bad_answer) if it is `UnusableError`."""
    try:
        answer = parse_object(body)
        if answer.get("kind") != kind:
            raise UnusableError(f"its kind is not {kind}")
        return read(answer)
    except (StrictJSONError, UnusableError) as error:
        problem = str(error)
    raise ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is not a usable {kind}: {problem}")


def members_of(answer: Mapping[str, JSONValue], name: str) -> Mapping[str, JSONValue]:
    """Return a required object inside an answer; raises `UnusableError`."""
    value = answer.get(name)
    if not isinstance(value, dict):
        raise UnusableError(f"{name} is not an object")
    return value


def parse_token_review(body: bytes, token: str) -> ReviewAnswer:
    """Read a TokenReview; raises `ApiError` (bad_answer) for anything but a clear yes or a clear no.

    Only `authenticated: true` is a yes. Names with control characters or lone surrogates are refused. `token` is
    removed from the server's message.
    """
    return read_answer_object("TokenReview", body, lambda answer: _token_review(answer, token))


def _token_review(answer: Mapping[str, JSONValue], token: str) -> ReviewAnswer:
    status = members_of(answer, "status")
    authenticated, error = _flag(status, "authenticated"), string_member(status, "error")
    if not authenticated:
        return NotAuthenticated(clean(error, (token,)))
    if error:
        raise UnusableError("status has both authenticated: true and an error")
    user = members_of(status, "user")
    username = _name(string_member(user, "username"), "username")
    if not username:
        raise UnusableError("username is empty")
    return ReviewedUser(
        username=username,
        uid=_name(string_member(user, "uid"), "uid"),
        groups=_names(user.get("groups"), "groups"),
        extra=_extra(user.get("extra")),
        audiences=_names(status.get("audiences"), "audiences"),
    )


def parse_access_review(kind: str, body: bytes) -> AccessAnswer:
    """Read a SubjectAccessReview or SelfSubjectAccessReview; raises `ApiError` (bad_answer) unless it is a yes or a no.

    Only `allowed: true` without `denied: true` is a yes. An `evaluationError` beside `allowed` changes nothing, as for
    the API server itself.
    """
    return read_answer_object(kind, body, _access_review)


def _access_review(answer: Mapping[str, JSONValue]) -> AccessAnswer:
    status = members_of(answer, "status")
    allowed, denied = _flag(status, "allowed"), _flag(status, "denied")
    reasons = (string_member(status, "reason"), string_member(status, "evaluationError"))
    return AccessAnswer(allowed and not denied, clean("; ".join(filter(None, reasons))))


def _flag(members: Mapping[str, JSONValue], name: str) -> bool:
    value = members.get(name)
    if not isinstance(value, bool | None):
        raise UnusableError(f"{name} is not a boolean")
    return value is True


def _name(text: str, where: str) -> str:
    if _CONTROL.search(text):
        raise UnusableError(f"{where} has control characters or lone surrogates")
    return text


def _names(value: JSONValue, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise UnusableError(f"{where} is not a list of at most {_MAX_ITEMS} strings")
    names = tuple(_name(item, where) for item in value if isinstance(item, str))
    if len(names) != len(value):
        raise UnusableError(f"{where} is not a list of strings")
    return names


def _extra(value: JSONValue) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > _MAX_ITEMS:
        raise UnusableError(f"extra is not an object of at most {_MAX_ITEMS} lists")
    return tuple(sorted((_name(key, "extra"), _names(items, "extra")) for key, items in value.items()))
