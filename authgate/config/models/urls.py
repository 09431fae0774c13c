"""Which URLs a configuration may name: https, or http on loopback, and nothing that could hide a secret."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21\x23-\x5b\x5d\x5f\x61-\x7a\x7e%]+")

_NO_LABEL = re.compile(r"[^A-Za-z0-9._-]+")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")  # urlsplit has checked what stood in brackets


def issuer_url(text: str) -> str:
    """Return an issuer's or discovery document's URL unchanged; raises ValueError where the rules forbid it.

    The rules of kube-apiserver's AuthenticationConfiguration: no user info, query or fragment; beyond it http on
    loopback, for development.
    """
    _checked(text)
    if "?" in text:
        raise ValueError("must not have a query")
    return text


def keys_url(text: str) -> str:
    """Return a JWKS URL unchanged; unlike an issuer's it may have a query. Raises ValueError."""
    _checked(text)
    return text


def host_of(url: str) -> str | None:
    """Return the host of a URL, lower case and without port or brackets, or None where it has none."""
    try:
        return urlsplit(url).hostname or None
    except ValueError:
        return None


def default_names(urls: Sequence[str | None]) -> list[str | None]:
    """Return what issuers without a name are called: by the host, or by host, port and path where several share it.

    None stands for an issuer that has a name, or a URL that cannot be read, and has no default.
    """
    hosts = [None if url is None else host_of(url) for url in urls]
    return [
        host if url is None or host is None or hosts.count(host) == 1 else _host_and_path(url)
        for url, host in zip(urls, hosts, strict=True)
    ]


def _host_and_path(url: str) -> str:
    parts = urlsplit(url)
    return _NO_LABEL.sub("-", f"{parts.netloc.lower()}{parts.path}").strip("-")


def _checked(text: str) -> None:
    if not _URL.fullmatch(text):
        raise ValueError("must be an absolute URL in ASCII, such as https://issuer.example.com")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError("must be an https:// URL")
    if "@" in parts.netloc:
        raise ValueError("must not have a user name or password in it")
    if not _HOST.fullmatch(parts.hostname or "") or port == 0:
        raise ValueError("must be a URL with a valid host and port")
    if "#" in text:
        raise ValueError("must not have a fragment (#…)")
    if parts.scheme == "http" and not _is_loopback(parts):
        raise ValueError("must be https://; plain http:// is allowed on loopback only")


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
