"""Reading the subrequest: its policy, its credential, and what the proxy tells of the original request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from authgate.model import OriginalRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

Proxy = Literal["nginx", "ingress-nginx", "envoy", "traefik", "caddy", "haproxy"]

DEFAULT_POLICY: Final = "default"
_POLICY_PATH = re.compile(r"/policies/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/verify(?=/|\Z)")
# A '#' stays in the path: a request target has no fragment, and some apps read on behind it.
_ABSOLUTE_FORM = re.compile(r"https?://[^/?#\s]+(/[^?]*)", re.IGNORECASE)
_NOTHING_KNOWN = OriginalRequest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a verify path names: a policy, and what follows the prefix ("" or beginning with a slash)."""

    policy: str
    rest: str


def endpoint_of(target: str) -> Endpoint | None:
    """Return the endpoint that a request target names, or None; its query chooses nothing and is not looked at."""
    path = target.partition("?")[0]
    if not path.startswith("/"):  # absolute-form, RFC 9112, section 3.2.2
        path = _absolute_path(path)
    if path == "/verify" or path.startswith("/verify/"):
        return Endpoint(DEFAULT_POLICY, path[7:])
    match = _POLICY_PATH.match(path)
    return Endpoint(match[1], path[match.end() :]) if match else None


def _absolute_path(target: str) -> str:
    match = _ABSOLUTE_FORM.match(target)
    return match[1] if match else ""


def credentials(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the raw values of every `Authorization` field line."""
    return values_of(headers, b"authorization")


def values_of(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the raw values of every field line of this lower-case name, in the order received."""
    size = len(name)
    return [value for key, value in headers if len(key) == size and key.lower() == name]


def original_request(
    proxy: Proxy, headers: Sequence[tuple[bytes, bytes]], method: str, rest: str
) -> OriginalRequest:
    """Return what the configured proxy tells of the client's request; nothing is taken from other proxies' headers.

    A header that is missing, stands twice or is not printable ASCII tells nothing. The query is cut off.
    """
    match proxy:
        case "envoy":
            return OriginalRequest(method, _path(rest)) if rest else _NOTHING_KNOWN
        case "nginx" | "haproxy":
            names = (b"x-original-method", b"x-original-uri")
        case "ingress-nginx":
            names = (b"x-original-method", b"x-original-url")
        case "traefik" | "caddy":
            names = (b"x-forwarded-method", b"x-forwarded-uri")
    original_method, uri = (_only(values_of(headers, name)) for name in names)
    if uri is not None and proxy == "ingress-nginx" and not uri.startswith("/"):
        uri = _absolute_path(uri)
    return OriginalRequest(original_method, _path(uri))


def _only(values: list[bytes]) -> str | None:
    if len(values) != 1:
        return None
    try:
        text = values[0].decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _path(uri: str | None) -> str | None:
    return uri.partition("?")[0] if uri and uri.startswith("/") else None
