"""Read Envoy's check requests and write its answers (envoy.service.auth.v3)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from authgate.model import Allow
from authgate.server.http.request import mark_preflight, request_of, text_of
from authgate.server.http.response import render
from authgate.server.request_facts import address_of
from authgate.vocabulary import DEFAULT_POLICY, IDENTITY_PREFIXES, OTHER_IDENTITY_HEADERS, REMOVED_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.credential.bearer import RawHeaders
    from authgate.model import Decision, Headers, Identity, OriginalRequest

_FRAMING: Final = frozenset({"Content-Length", "Server"})
"""Headers that only the gate's HTTP answers have."""
_IDENTITY_PREFIXES: Final = tuple(prefix.lower() for prefix in IDENTITY_PREFIXES)
"""Prefixes of headers that only a gate may set, with any preset."""
_TRUSTED_BY_APPS: Final = frozenset(
    name.lower() for name in (*REMOVED_HEADERS, *OTHER_IDENTITY_HEADERS, "X-Forwarded-Host")
)
"""Headers that apps trust because proxies set them. A client must not send them."""
_ENVOYS: Final = "x-forwarded-client-cert"
"""A header that Envoy itself removes, or sets if configured."""
_CODES: Final = {401: 16, 403: 7, 404: 5, 431: 8, 503: 14}
"""gRPC's codes for HTTP statuses (google.rpc.Code)."""


def policy_of(request: CheckRequest) -> str:
    """Return the policy that Envoy's configuration names in `context_extensions`, else the default."""
    name: str = request.attributes.context_extensions.get("policy", DEFAULT_POLICY)
    return name


def headers_of(request: CheckRequest) -> RawHeaders:
    """Return the client's header fields. Unless Envoy sends raw headers, it joins repeated ones."""
    http = request.attributes.request.http
    if http.HasField("header_map"):
        return [
            (field.key.encode(), field.raw_value or field.value.encode()) for field in http.header_map.headers
        ]
    return [(name.encode(), value.encode()) for name, value in http.headers.items()]


def original_of(request: CheckRequest, headers: RawHeaders) -> OriginalRequest:
    """Return the client's request as Envoy describes it. No header affects it."""
    http = request.attributes.request.http
    method, host = (text_of(text.encode()) if text else None for text in (http.method, http.host))
    return mark_preflight(request_of(method, http.path.encode().decode("latin-1"), host), headers)


def client_of(request: CheckRequest) -> str | None:
    """Return the address of Envoy's client, or None if it has no IP address."""
    return address_of(request.attributes.source.address.socket_address.address)


def answer_of(
    decision: Decision,
    forward: Headers,
    headers: RawHeaders,
    *,
    reads_basic: bool = False,
    more: Headers = (),
) -> CheckResponse:
    """Return the answer to a check request with these header fields.

    `forward` holds the headers that remain when credentials are removed from them, and `more` headers are in every
    answer. With `reads_basic`, a 401 also asks for a Basic password. No client header reaches the app under a name that
    the gate sets: it is overwritten if there is a value, else removed. Envoy removes headers after setting them, so no
    name is in both lists.
    """
    if not isinstance(decision, Allow):
        status, refusal_headers = render(decision, reads_basic=reads_basic, more=more)
        return refusal(status, refusal_headers, decision.reason.value)
    response = CheckResponse()
    own = (*decision.headers, *more, *forward)
    seen: set[str] = set()
    for name, value in own:
        if value:
            _add(response.ok_response.headers, name, value, again=name in seen)
            seen.add(name)
    kept = {name.lower() for name in seen}
    spoofed = {name.lower() for name, _ in own} | set(_claimed(headers, own))
    response.ok_response.headers_to_remove.extend(sorted(spoofed - kept))
    if decision.identity is not None:
        response.dynamic_metadata.update(_metadata(decision.identity))
    return response


def refusal(status: int, headers: Headers, reason: str = "") -> CheckResponse:
    """Return an answer with which Envoy sends the client this status and these headers, and the app nothing."""
    response = CheckResponse()
    response.status.code = _CODES[status]
    response.status.message = reason or HTTPStatus(status).phrase
    response.denied_response.status.code = status
    for name, value in headers:
        if name not in _FRAMING:
            _add(response.denied_response.headers, name, value)
    return response


def _add(options: Any, name: str, value: str, *, again: bool = False) -> None:
    option = options.add()
    option.header.key = name
    option.header.value = value
    if again:
        option.append.value = True  # Envoy (at least up to 1.40) uses this here instead of the action
        option.append_action = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
    else:
        option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def _claimed(headers: RawHeaders, ours: Headers) -> Iterator[str]:
    """Yield the names of client fields that an app could take for the gate's or for Envoy's.

    Names with underscores count, too.
    """
    own = {name.lower() for name, _ in ours}
    for raw, _ in headers:
        name = raw.decode("latin-1").lower()
        read = name.replace("_", "-")
        trusted = read in _TRUSTED_BY_APPS and name != _ENVOYS
        if trusted or read in own or read.startswith(_IDENTITY_PREFIXES):
            yield name


def _metadata(identity: Identity) -> dict[str, object]:
    return {"username": identity.username, "groups": list(identity.groups), "issuer": identity.issuer}
