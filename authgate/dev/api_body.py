"""What callers of the kube API post: one JSON object of a known kind, read field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from authgate.dev import status


class BadBodyError(Exception):
    """A body that cannot be used, with the answer it gets; nothing of the body is quoted, since it holds a token."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


async def posted(request: web.BaseRequest, kind: str) -> Mapping[str, object]:
    """The object that was posted; raises BadBodyError for another method, format, kind or size (over 1 MiB)."""
    if request.method != "POST":
        raise BadBodyError(status.method_not_allowed())
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise BadBodyError(status.unsupported_media_type())
    try:
        body = json.loads(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise BadBodyError(status.too_large()) from None
    except (ValueError, RecursionError):
        raise _bad(
            f"the object provided is unrecognized (must be of type {kind}): json parse error"
        ) from None
    if not isinstance(body, dict):
        raise _bad(f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind")
    if body.get("kind", kind) != kind:
        raise _bad(f"the object provided cannot be handled as a {kind}: unknown conversion")
    return body


def members(of: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The object by this name, empty where it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return {}
        case dict(found):
            return found
        case _:
            raise _mistyped(name, "object")


def text(of: Mapping[str, object], name: str) -> str:
    """The string by this name, empty where it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return ""
        case str(found):
            return found
        case _:
            raise _mistyped(name, "string")


def strings(of: Mapping[str, object], name: str) -> tuple[str, ...]:
    """The list of strings by this name, empty where it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return ()
        case list(found) if all(isinstance(one, str) for one in found):
            return tuple(found)
        case _:
            raise _mistyped(name, "[]string")


def whole_number(of: Mapping[str, object], name: str, default: int) -> int:
    """The whole number by this name, the default where it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return default
        case bool():
            raise _mistyped(name, "int64")
        case int(found):
            return found
        case _:
            raise _mistyped(name, "int64")


def _bad(message: str) -> BadBodyError:
    return BadBodyError(status.bad_request(message))


def _mistyped(name: str, wanted: str) -> BadBodyError:
    return _bad(f"json: cannot unmarshal {name} into Go struct field of type {wanted}")
