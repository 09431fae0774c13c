"""Requests and responses of the kube API: objects that callers post, answers, and the Status of every error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from authgate.dev.compact import JsonObject, json_bytes
from authgate.dev.kube import User

_NO_CACHE = "no-cache, private"


def answer(
    body: Mapping[str, object],
    code: int = HTTPStatus.OK,
    *,
    content_type: str = "application/json",
    cache_control: str = _NO_CACHE,
) -> web.Response:
    """Return a JSON response with the API server's headers."""
    headers = {"Content-Type": content_type, "Cache-Control": cache_control}
    return web.Response(status=code, body=json_bytes(body), headers=headers)


def plain(body: str, code: int = HTTPStatus.OK) -> web.Response:
    """Return a plain text response with the API server's headers."""
    return web.Response(status=code, text=body, headers={"Cache-Control": _NO_CACHE})


def failure(code: int, reason: str, message: str, details: JsonObject | None = None) -> web.Response:
    """Return a Status of kind Failure (apimachinery pkg/api/errors)."""
    status: JsonObject = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return answer(status if details is None else {**status, "details": details}, code)


def unauthorized() -> web.Response:
    """Return the response to an invalid credential; a caller without a credential is anonymous instead."""
    return failure(401, "Unauthorized", "Unauthorized")


def forbidden_path(user: User, method: str, path: str) -> web.Response:
    """Return the response to a user whom no role allows a non-resource path."""
    message = f'forbidden: User "{user.username}" cannot {method.lower()} path "{path}"'
    return failure(403, "Forbidden", message, {})


def forbidden_to_create(user: User, resource: str, group: str) -> web.Response:
    """Return the response to a user whom no role allows to create a cluster-wide resource."""
    message = (
        f'{resource}.{group} is forbidden: User "{user.username}" cannot create resource "{resource}" in API group'
        f' "{group}" at the cluster scope'
    )
    return failure(403, "Forbidden", message, {"group": group, "kind": resource})


def bad_request(message: str) -> web.Response:
    """Return the response to an unusable body."""
    return failure(400, "BadRequest", message)


def method_not_allowed() -> web.Response:
    """Return the response to a method that the path does not support."""
    message = "the server does not allow this method on the requested resource"
    return failure(405, "MethodNotAllowed", message, {})


def unsupported_media_type() -> web.Response:
    """Return the response to a body that is not JSON; a real server also accepts YAML and protobuf."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: application/json"
    )
    return failure(415, "UnsupportedMediaType", message)


def too_large() -> web.Response:
    """Return the response to a body over 1 MiB; the limit of a real server is 3 MiB."""
    return failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 1048576")


class BadBodyError(Exception):
    """A request body is unusable; `response` is the answer, which never quotes the body because it contains a token."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


async def posted(request: web.BaseRequest, kind: str) -> Mapping[str, object]:
    """Return the posted object; raises BadBodyError for another method, format or kind, or more than 1 MiB."""
    if request.method != "POST":
        raise BadBodyError(method_not_allowed())
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise BadBodyError(unsupported_media_type())
    try:
        body = json.loads(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise BadBodyError(too_large()) from None
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
    """Return an object field, empty if it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return {}
        case dict(found):
            return found
        case _:
            raise _mistyped(name, "object")


def text(of: Mapping[str, object], name: str) -> str:
    """Return a string field, empty if it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return ""
        case str(found):
            return found
        case _:
            raise _mistyped(name, "string")


def strings(of: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Return a list of strings, empty if it is missing or null; raises BadBodyError for another type."""
    match of.get(name):
        case None:
            return ()
        case list(found) if all(isinstance(one, str) for one in found):
            return tuple(found)
        case _:
            raise _mistyped(name, "[]string")


def _bad(message: str) -> BadBodyError:
    return BadBodyError(bad_request(message))


def _mistyped(name: str, wanted: str) -> BadBodyError:
    return _bad(f"json: cannot unmarshal {name} into Go struct field of type {wanted}")
