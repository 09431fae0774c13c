"""The proxy for a URL, chosen from the environment as Go programs do. Pure.

`~/.netrc` and `ALL_PROXY` are not read.
Source: golang.org/x/net/http/httpproxy, which net/http and client-go use.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

_VARIABLES: Final = {"https": "HTTPS_PROXY", "http": "HTTP_PROXY"}
_PORTS: Final = {"https": 443, "http": 80}


class ProxyError(ValueError):
    """The configured proxy cannot be used; the message names the variable and quotes no password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its URL without user info, its `Proxy-Authorization` header or "", and the setting that names it."""

    url: str
    authorization: str = field(repr=False)
    origin: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request to the proxy itself."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def __str__(self) -> str:
        return f"{self.url} ({self.origin})"


@dataclass(frozen=True, slots=True)
class _Exception:
    """An entry of NO_PROXY: a network, or a domain with a leading dot, and a port or None for every port.

    With `itself` the domain matches, too, and not only the names below it.
    """

    network: _Network | None = None
    domain: str = ""
    itself: bool = False
    port: int | None = None

    def covers(self, host: str, address: _Address | None, port: int) -> bool:
        """Return whether requests to this host and port bypass the proxy."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host.endswith(self.domain) or (self.itself and host == self.domain[1:])


class ProxyEnvironment:
    """HTTPS_PROXY, HTTP_PROXY and NO_PROXY of `environ`, read once; upper case takes precedence over lower case."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._proxies = {scheme: _first(environ, name) for scheme, name in _VARIABLES.items()}
        if environ.get("REQUEST_METHOD"):  # CGI, where a client sets HTTP_PROXY by sending `Proxy:` (httpoxy)
            self._proxies["http"] = None
        _, text = _first(environ, "NO_PROXY") or ("", "")
        entries = [entry.strip().lower() for entry in text.split(",")]
        self._bypass_all = "*" in entries
        self._exceptions = tuple(_exceptions(entries))

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy for a URL, or None for a direct request; raises `ProxyError`.

        An unusable proxy is an error: the request must not bypass it.
        """
        parts = urlsplit(url)
        variable = self._proxies.get(parts.scheme)
        if variable is None or self._direct(parts.hostname or "", parts.port or _PORTS[parts.scheme]):
            return None
        name, value = variable
        return read_proxy(value, name)

    def _direct(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback) or self._bypass_all:
            return True
        return any(exception.covers(host, address, port) for exception in self._exceptions)


def read_proxy(value: str, origin: str) -> Proxy:
    """Return the proxy at a URL, an http proxy if the URL has no scheme; raises `ProxyError`."""
    try:
        if "//" not in value:
            value = f"http://{value}"
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ProxyError(f"{origin}: must be a URL such as http://proxy:3128") from None
    if parts.scheme not in _PORTS or not parts.hostname or not value.isprintable() or " " in value:
        raise ProxyError(f"{origin}: must be a URL such as http://proxy:3128; SOCKS is not supported")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode('ascii')}"
    return Proxy(f"{parts.scheme}://{host}" + (f":{port}" if port else ""), authorization, origin)


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return the name in upper or else in lower case, whichever is set and not empty, with its value."""
    return next(((key, environ[key]) for key in (name, name.lower()) if environ.get(key)), None)


def _exceptions(entries: list[str]) -> Iterator[_Exception]:
    for entry in entries:
        if (network := _network(entry)) is not None:
            yield _Exception(network)
            continue
        host, port = _host_and_port(entry)
        host = host.removeprefix("[").removesuffix("]")
        address = _address(host)
        if address is not None:
            yield _Exception(ip_network(address), port=port)
            continue
        domain = host[1:] if host.startswith("*.") else host
        if domain.strip("."):
            dotted = domain.startswith(".")
            yield _Exception(domain=domain if dotted else f".{domain}", itself=not dotted, port=port)


def _network(entry: str) -> _Network | None:
    _, slash, length = entry.partition("/")
    try:
        return ip_network(entry, strict=False) if slash and length.isdecimal() else None
    except ValueError:
        return None


def _host_and_port(entry: str) -> tuple[str, int | None]:
    """Return host and port of an entry; an IPv6 address with a port has brackets."""
    host, colon, port = entry.rpartition(":")
    whole = not colon or (":" in host and not host.endswith("]"))
    if whole or not (port.isdecimal() or not port):
        return entry, None
    return host, int(port) if port else None


def _address(host: str) -> _Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
