"""The TokenReview exchange: what is sent, and a strict reading of what comes back (`authentication.k8s.io/v1`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind, NotAuthenticated, ReviewAnswer, ReviewedUser
from authgate.cluster.wording import clean
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.model import JSONValue

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer that are read."""

_MAX_ITEMS: Final = 10_000
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def review_request(token: str, audiences: tuple[str, ...]) -> dict[str, object]:
    """Return the object to post: a review of `token` for `audiences`."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": list(audiences)},
    }


def parse_review(body: bytes, token: str) -> ReviewAnswer:
    """Read a TokenReview's status; raises `ApiError` (bad_answer) for anything but a clear yes or a clear no.

    `authenticated` counts as yes only where it is literally true. Names with control characters or lone surrogates are
    refused. Null and missing are the same, as for Go. `token` is removed from the server's words.
    """
    try:
        answer = parse_object(body)
    except StrictJSONError as error:
        raise _bad(str(error)) from None
    if answer.get("kind") != "TokenReview":
        raise _bad("its kind is not TokenReview")
    status = answer.get("status")
    if not isinstance(status, dict):
        raise _bad("it has no status")
    error_text = _text(status, "error", "status.error")
    match status.get("authenticated"):
        case True if not error_text:
            return _user(status)
        case True:
            raise _bad("it says both authenticated and error")
        case False | None:
            return NotAuthenticated(clean(error_text, (token,)))
        case _:
            raise _bad("status.authenticated is no boolean")


def _user(status: Mapping[str, JSONValue]) -> ReviewedUser:
    user = status.get("user")
    if not isinstance(user, dict):
        raise _bad("status.user is missing")
    username = _fit(_text(user, "username", "status.user.username"), "status.user.username")
    if not username:
        raise _bad("status.user.username is empty")
    return ReviewedUser(
        username=username,
        uid=_fit(_text(user, "uid", "status.user.uid"), "status.user.uid"),
        groups=_texts(user.get("groups"), "status.user.groups"),
        extra=_extra(user.get("extra")),
        audiences=_texts(status.get("audiences"), "status.audiences"),
    )


def _extra(value: JSONValue) -> tuple[tuple[str, tuple[str, ...]], ...]:
    where = "status.user.extra"
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > _MAX_ITEMS:
        raise _bad(f"{where} is no object of lists")
    return tuple(sorted((_fit(key, where), _texts(texts, where)) for key, texts in value.items()))


def _text(members: Mapping[str, JSONValue], name: str, where: str) -> str:
    value = members.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(f"{where} is no string")
    return value


def _texts(value: JSONValue, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise _bad(f"{where} is no list of strings, or has more than {_MAX_ITEMS}")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) != len(value):
        raise _bad(f"{where} is no list of strings")
    return tuple(_fit(text, where) for text in texts)


def _fit(text: str, where: str) -> str:
    if _UNFIT.search(text):
        raise _bad(f"{where} holds control characters or lone surrogates")
    return text


def _bad(problem: str) -> ApiError:
    return ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is no usable TokenReview: {problem}")
