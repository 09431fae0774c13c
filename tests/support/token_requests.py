"""TokenRequest of an embedded cluster (Kubernetes pkg/registry/core/serviceaccount/storage/token.go)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from authgate.dev import messages
from authgate.dev.compact import JsonObject
from authgate.dev.kube import KubeState, Permission, User
from authgate.dev.messages import BadBodyError, members, posted, strings, text
from authgate.dev.objects import Bindable, Node, Pod, Secret, ServiceAccount
from authgate.dev.review import Authenticated, Refused, authenticate

SHORTEST: Final = 600
LONGEST: Final = 2**32
"""The range of `expirationSeconds`."""

_DEFAULT: Final = 3600
_PATH: Final = re.compile(r"/api/v1/namespaces/([^/]+)/serviceaccounts/([^/]+)/token")


def token_request_path(namespace: str, name: str) -> str:
    """Return the path that requests tokens of an account."""
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"


class TokenRequests:
    """Serve the TokenRequest subresource of every account of a cluster."""

    def __init__(self, state: KubeState) -> None:
        self._state = state

    async def respond(self, request: web.BaseRequest) -> web.Response | None:
        """Return the response to a token request; None for any other path."""
        account = _PATH.fullmatch(request.path)
        if account is None:
            return None
        match authenticate(self._state, request.headers.get("Authorization", "")):
            case Refused():
                return messages.unauthorized()
            case Authenticated(user=user):
                return await self._answer(request, user, account[1], account[2])

    async def _answer(self, request: web.BaseRequest, user: User, namespace: str, name: str) -> web.Response:
        if not self._state.is_allowed(user, Permission.REQUEST_TOKENS):
            return _forbidden(user, namespace, name)
        try:
            return _answer(self._state, namespace, name, await posted(request, "TokenRequest"))
        except BadBodyError as bad:
            return bad.response


def _answer(state: KubeState, namespace: str, name: str, body: Mapping[str, object]) -> web.Response:
    spec = members(body, "spec")
    audiences = strings(spec, "audiences") or state.api_audiences
    lifetime = _seconds(spec.get("expirationSeconds"))
    reference = members(spec, "boundObjectRef")
    account = state.objects.get(ServiceAccount, name, namespace)
    if account is None:
        return _not_found("serviceaccounts", name)
    if lifetime < SHORTEST:
        return _out_of_range(lifetime, "may not specify a duration less than 10 minutes")
    if lifetime > LONGEST:
        return _out_of_range(lifetime, "may not specify a duration larger than 2^32 seconds")
    bound_to = _bound_object(state, account, reference) if reference else None
    if isinstance(bound_to, web.Response):
        return bound_to
    now = state.clock()
    answer: JsonObject = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account.uid,
            "creationTimestamp": _timestamp(now),
        },
        "spec": {
            "audiences": list(audiences),
            "expirationSeconds": lifetime,
            "boundObjectRef": dict(reference) or None,
        },
        "status": {
            "token": state.account_token(account, audiences, bound_to=bound_to, lifetime=lifetime),
            "expirationTimestamp": _timestamp(now + lifetime),
        },
    }
    return messages.answer(answer, 201)


def _bound_object(
    state: KubeState, account: ServiceAccount, reference: Mapping[str, object]
) -> Bindable | web.Response:
    version, kind = text(reference, "apiVersion"), text(reference, "kind")
    name, uid = text(reference, "name"), text(reference, "uid")
    found: Bindable | None
    match version, kind:
        case (("v1" | ""), "Pod"):
            found, resource = state.objects.get(Pod, name, account.namespace), Pod.resource
        case (("v1" | ""), "Node"):
            found, resource = state.objects.get(Node, name), Node.resource
        case (("v1" | ""), "Secret"):
            found, resource = state.objects.get(Secret, name, account.namespace), Secret.resource
        case _:
            return messages.bad_request(f"cannot bind token to object of type {version}, Kind={kind}")
    if found is None:
        return _not_found(resource, name)
    if isinstance(found, Pod) and found.service_account != account.name:
        return messages.bad_request(
            f'cannot bind token for serviceaccount "{account.name}" to pod running with different '
            "serviceaccount name."
        )
    if uid and uid != found.uid:
        return _conflict(
            kind,
            name,
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    return found


def _out_of_range(lifetime: int, message: str) -> web.Response:
    return _invalid_field("TokenRequest", "spec.expirationSeconds", lifetime, message)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(value: object) -> int:
    match value:
        case None:
            return _DEFAULT
        case int() if not isinstance(value, bool):
            return value
        case _:
            raise BadBodyError(
                messages.bad_request(
                    "json: cannot unmarshal expirationSeconds into Go struct field of type int64"
                )
            )


def _forbidden(user: User, namespace: str, name: str) -> web.Response:
    message = (
        f'serviceaccounts "{name}" is forbidden: User "{user.username}" cannot create resource '
        f'"serviceaccounts/token" in API group "" in the namespace "{namespace}"'
    )
    return messages.failure(403, "Forbidden", message, {"name": name, "kind": "serviceaccounts"})


def _not_found(resource: str, name: str) -> web.Response:
    return messages.failure(
        404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource}
    )


def _conflict(kind: str, name: str, message: str) -> web.Response:
    complaint = f'Operation cannot be fulfilled on {kind} "{name}": {message}'
    return messages.failure(409, "Conflict", complaint, {"name": name, "kind": kind})


def _invalid_field(kind: str, field: str, value: object, message: str) -> web.Response:
    complaint = f"Invalid value: {value}: {message}"
    details: JsonObject = {
        "group": "authentication.k8s.io",
        "kind": kind,
        "causes": [{"reason": "FieldValueInvalid", "message": complaint, "field": field}],
    }
    return messages.failure(
        422, "Invalid", f'{kind}.authentication.k8s.io "" is invalid: {field}: {complaint}', details
    )
