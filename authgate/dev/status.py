"""Answers in the API server's own words: objects, and the Status that every error is."""

from __future__ import annotations

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
    """A JSON answer with the API server's headers."""
    headers = {"Content-Type": content_type, "Cache-Control": cache_control}
    return web.Response(status=code, body=json_bytes(body), headers=headers)


def plain(body: str, code: int = HTTPStatus.OK) -> web.Response:
    """A plain text answer with the API server's headers."""
    return web.Response(status=code, text=body, headers={"Cache-Control": _NO_CACHE})


def failure(code: int, reason: str, message: str, details: JsonObject | None = None) -> web.Response:
    """A Status of kind Failure (apimachinery pkg/api/errors)."""
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
    """The answer to a credential that is none; a caller without any is anonymous instead."""
    return failure(401, "Unauthorized", "Unauthorized")


def forbidden_path(user: User, method: str, path: str) -> web.Response:
    """The answer to a user whom no role allows a path that is no resource."""
    message = f'forbidden: User "{user.username}" cannot {method.lower()} path "{path}"'
    return failure(403, "Forbidden", message, {})


def forbidden_review(user: User) -> web.Response:
    """The answer to a user whom no role allows to create tokenreviews."""
    message = (
        f'tokenreviews.authentication.k8s.io is forbidden: User "{user.username}" cannot create resource '
        '"tokenreviews" in API group "authentication.k8s.io" at the cluster scope'
    )
    return failure(403, "Forbidden", message, {"group": "authentication.k8s.io", "kind": "tokenreviews"})


def forbidden_access_review(user: User) -> web.Response:
    """The answer to a user whom no role allows to create subjectaccessreviews."""
    message = (
        f'subjectaccessreviews.authorization.k8s.io is forbidden: User "{user.username}" cannot create resource '
        '"subjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope'
    )
    return failure(
        403, "Forbidden", message, {"group": "authorization.k8s.io", "kind": "subjectaccessreviews"}
    )


def forbidden_token(user: User, namespace: str, name: str) -> web.Response:
    """The answer to a user whom no role allows to create an account's tokens."""
    message = (
        f'serviceaccounts "{name}" is forbidden: User "{user.username}" cannot create resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{namespace}"'
    )
    return failure(403, "Forbidden", message, {"name": name, "kind": "serviceaccounts"})


def not_found(resource: str, name: str) -> web.Response:
    """The answer to the name of an object that is not there."""
    return failure(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})


def bad_request(message: str) -> web.Response:
    """The answer to a body that cannot be used."""
    return failure(400, "BadRequest", message)


def conflict(kind: str, name: str, message: str) -> web.Response:
    """The answer to a UID that is no longer the object's."""
    complaint = f'Operation cannot be fulfilled on {kind} "{name}": {message}'
    return failure(409, "Conflict", complaint, {"name": name, "kind": kind})


def invalid_field(kind: str, field: str, value: object, message: str) -> web.Response:
    """The answer to an object of authentication.k8s.io with a field out of its range."""
    complaint = f"Invalid value: {value}: {message}"
    details: JsonObject = {
        "group": "authentication.k8s.io",
        "kind": kind,
        "causes": [{"reason": "FieldValueInvalid", "message": complaint, "field": field}],
    }
    return failure(
        422, "Invalid", f'{kind}.authentication.k8s.io "" is invalid: {field}: {complaint}', details
    )


def method_not_allowed() -> web.Response:
    """The answer to a method that a path does not have."""
    message = "the server does not allow this method on the requested resource"
    return failure(405, "MethodNotAllowed", message, {})


def unsupported_media_type() -> web.Response:
    """The answer to a body that is not JSON; a real server takes YAML and protobuf, too."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: application/json"
    )
    return failure(415, "UnsupportedMediaType", message)


def too_large() -> web.Response:
    """The answer to a body over the limit; a real server's is 3 MiB."""
    return failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 1048576")
