"""TokenRequest: a token for a ServiceAccount (Kubernetes pkg/registry/core/serviceaccount/storage/token.go)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from authgate.dev import status
from authgate.dev.api_body import members, strings, text, whole_number
from authgate.dev.compact import JsonObject
from authgate.dev.kube import KubeState
from authgate.dev.objects import Bindable, Node, Pod, Secret, ServiceAccount

SHORTEST: Final = 600
LONGEST: Final = 2**32
"""Seconds that a token may be asked for."""

_DEFAULT: Final = 3600


def answer_token_request(
    state: KubeState, namespace: str, name: str, body: Mapping[str, object]
) -> web.Response:
    """The TokenRequest with its token; raises BadBodyError for fields of the wrong type."""
    spec = members(body, "spec")
    audiences = strings(spec, "audiences") or state.api_audiences
    lifetime = whole_number(spec, "expirationSeconds", _DEFAULT)
    reference = members(spec, "boundObjectRef")
    account = state.objects.get(ServiceAccount, name, namespace)
    if account is None:
        return status.not_found("serviceaccounts", name)
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
    return status.answer(answer, 201)


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
            return status.bad_request(f"cannot bind token to object of type {version}, Kind={kind}")
    if found is None:
        return status.not_found(resource, name)
    if isinstance(found, Pod) and found.service_account != account.name:
        return status.bad_request(
            f'cannot bind token for serviceaccount "{account.name}" to pod running with different '
            "serviceaccount name."
        )
    if uid and uid != found.uid:
        return status.conflict(
            kind,
            name,
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    return found


def _out_of_range(lifetime: int, message: str) -> web.Response:
    return status.invalid_field("TokenRequest", "spec.expirationSeconds", lifetime, message)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
