"""Read the subrequest: the policy that it names, and the client's request as the proxy describes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from authgate.credential.bearer import values_of
from authgate.model import OriginalRequest
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authgate.vocabulary import Proxy

_POLICY_PATH = re.compile(r"/policies/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/verify(?=/|\Z)")
# A '#' belongs to the path: a request target has no fragment, and some apps read what follows it.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#\s]+)(/.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A verify path: the policy that it names, and what follows the prefix ("" or beginning with a slash)."""

    policy: str
    rest: str
    query: str = field(default="", compare=False)
    """The query of the target. It does not select a policy; in Envoy's subrequests it is the client's."""


@dataclass(frozen=True, slots=True)
class ForwardedHeaders:
    """The fields, in lower case, in which a proxy sends the client's request; None if it sends a part elsewhere."""

    method: bytes | None
    uri: bytes | None
    host: bytes | None


# ingress-nginx sends a whole URL. Envoy sends the client's method and host, and its path behind a prefix.
FORWARDED_HEADERS: Final[Mapping[Proxy, ForwardedHeaders]] = MappingProxyType(
    {
        "nginx": ForwardedHeaders(b"x-original-method", b"x-original-uri", b"x-original-host"),
        "haproxy": ForwardedHeaders(b"x-original-method", b"x-original-uri", b"x-original-host"),
        "ingress-nginx": ForwardedHeaders(b"x-original-method", b"x-original-url", None),
        "traefik": ForwardedHeaders(b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host"),
        "caddy": ForwardedHeaders(b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-host"),
        "envoy": ForwardedHeaders(None, None, b"host"),
    }
)
NO_FORWARDED_HEADERS: Final = ForwardedHeaders(None, None, None)
"""The fields if no proxy is configured."""


# What a browser sends in Origin and Access-Control-Request-Method (Fetch, sections 3.1 and 3.2.2).
_ORIGIN = re.compile(rb"null|[a-z][a-z0-9+.-]{0,31}://[^\x00-\x20\x7f-\xff/?#@,]{1,260}")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")


def endpoint_of(target: str) -> Endpoint | None:
    """Return the endpoint that a request target in origin-form names, or None. The query does not matter."""
    path, _, query = target.partition("?")
    if path == "/verify" or path.startswith("/verify/"):
        return Endpoint(DEFAULT_POLICY, path[7:], query)
    match = _POLICY_PATH.match(path)
    return Endpoint(match[1], path[match.end() :], query) if match else None


def original_request(
    proxy: Proxy | None, headers: Sequence[tuple[bytes, bytes]], method: str, endpoint: Endpoint
) -> OriginalRequest:
    """Return the client's request from the configured proxy's headers; other proxies' headers are ignored.

    `method` is that of the subrequest. A part whose header is missing or repeated is unknown. If no proxy is
    configured, no header is read.
    """
    if proxy is None:
        return OriginalRequest()
    names = FORWARDED_HEADERS[proxy]
    original_method, uri, host = (
        None if name is None else _only(values_of(headers, name))
        for name in (names.method, names.uri, names.host)
    )
    original = forwarded_request(proxy, method, endpoint, original_method=original_method, uri=uri, host=host)
    return mark_preflight(original, headers)


def mark_preflight(original: OriginalRequest, headers: Sequence[tuple[bytes, bytes]]) -> OriginalRequest:
    """Return the request, marked as a CORS preflight if its method and fields make it one."""
    if original.method == "OPTIONS" and _has_preflight_fields(headers):
        return replace(original, preflight=True)
    return original


def _has_preflight_fields(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether the fields that make an OPTIONS request a CORS preflight are present, once each."""
    origin = _only(values_of(headers, b"origin"))
    method = _only(values_of(headers, b"access-control-request-method"))
    if origin is None or method is None:
        return False
    return _ORIGIN.fullmatch(origin) is not None and _METHOD.fullmatch(method) is not None


def forwarded_request(
    proxy: Proxy | None,
    method: str,
    endpoint: Endpoint,
    *,
    original_method: bytes | None,
    uri: bytes | None,
    host: bytes | None,
) -> OriginalRequest:
    """Return the client's request from the values of the proxy's `FORWARDED_HEADERS`, None for missing ones.

    A method or host that is not printable ASCII is unknown. The path is as it was sent, one character per byte.
    """
    if proxy is None:
        return OriginalRequest()
    if proxy == "envoy":
        path, query = endpoint.rest, endpoint.query
        return OriginalRequest(method, path, text_of(host), query) if path else OriginalRequest()
    authority = text_of(host)
    target = "" if uri is None else uri.decode("latin-1")
    if proxy == "ingress-nginx" and not target.startswith("/"):
        match = _ABSOLUTE_FORM.match(target)
        authority, target = (match[1], match[2]) if match else (None, "")
    return request_of(text_of(original_method), target, authority)


def request_of(method: str | None, target: str, authority: str | None) -> OriginalRequest:
    """Return the request of a target (one character per byte). A target not in origin-form has no known path."""
    if not target.startswith("/"):
        return OriginalRequest(method, None, authority)
    path, _, query = target.partition("?")
    return OriginalRequest(method, path, authority, query)


def _only(values: list[bytes]) -> bytes | None:
    return values[0] if len(values) == 1 else None


def text_of(value: bytes | None) -> str | None:
    """Return a value as text if it is printable ASCII, else None."""
    if value is None:
        return None
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None
