"""Fetching small documents from an issuer over HTTP, with limits on time, size and redirects."""

from __future__ import annotations

import asyncio
import re
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

import aiohttp

from authgate.http_proxy import ProxyEnvironment, ProxyError
from authgate.keys.remote import FetchFailure, KeyFetchError
from authgate.system_trust import system_trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.http_proxy import Proxy

MAX_BYTES = 1 << 20
_MAX_REDIRECTS = 3
_CHUNK = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTTP_OK = 200
_NO_PROXIES = ProxyEnvironment({})
_TOO_MANY_REQUESTS = 429
_SECONDS = re.compile("[0-9]{1,9}")
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE"}
)
_STATUSES = {
    400: FetchFailure.BAD_REQUEST,
    401: FetchFailure.CREDENTIALS,
    403: FetchFailure.CREDENTIALS,
    404: FetchFailure.NOT_FOUND,
    410: FetchFailure.NOT_FOUND,
    _TOO_MANY_REQUESTS: FetchFailure.LIMITED,
}
_SERVER_ERRORS = 500


class UntrustedCertificateError(KeyFetchError):
    """A server's certificate does not chain to a trusted CA, or is for another host."""


class Fetcher(Protocol):
    """Fetches documents by URL."""

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200 response; raises `KeyFetchError`."""
        ...


def _trust(ca_pem: str) -> ssl.SSLContext:
    # OpenSSL accepts ASCII only; the rest is comments.
    return ssl.create_default_context(cadata=ca_pem.encode("ascii", "ignore").decode())


class HTTPFetcher:
    """Fetches over HTTP(S): status 200 only, at most 1 MiB, within `timeout` seconds, on one origin.

    `ca_pem` replaces the system's CAs. `token` returns the bearer token for requests to one of `token_origins`; no
    other host gets it. `proxies` selects the forward proxy of a request; default: no proxy. ~/.netrc is not read.
    """

    def __init__(
        self,
        timeout: float,
        *,
        ca_pem: str | None = None,
        token: Callable[[], str] | None = None,
        token_origins: frozenset[str] = frozenset(),
        proxies: ProxyEnvironment = _NO_PROXIES,
    ) -> None:
        self._timeout = timeout
        self._ssl = system_trust() if ca_pem is None else _trust(ca_pem)
        self._token = token
        self._token_origins = token_origins
        self._proxies = proxies

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the forward proxy for a URL, or None; raises `KeyFetchError`."""
        try:
            return self._proxies.proxy_for(url)
        except ProxyError as error:
            raise KeyFetchError(f"{url}: {error}") from None

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200 response; raises `KeyFetchError` with the URL and the cause."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url)
        except TimeoutError:
            raise KeyFetchError(
                f"{url}: no complete response within {self._timeout:g} s", failure=FetchFailure.TIMEOUT
            ) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise UntrustedCertificateError(
                f"{url}: untrusted certificate ({error.certificate_error}); set certificateAuthority to its CA"
            ) from None
        except aiohttp.ClientProxyConnectionError:
            raise KeyFetchError(f"{url}: the proxy {self.proxy_for(url)} cannot be reached") from None
        except aiohttp.ClientHttpProxyError as error:
            raise KeyFetchError(f"{url}: the proxy {self.proxy_for(url)} answered {error.status}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise KeyFetchError(
                f"{url}: {type(error).__name__}: {str(error)[:200]}", failure=_failure(error)
            ) from None

    async def _follow(self, url: str) -> bytes:
        # One session per fetch: fetches are minutes apart, so a kept connection would be dead by then.
        connector = aiohttp.TCPConnector(ssl=self._ssl, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            target = url
            proxy = self.proxy_for(url)  # redirects stay on the same origin
            for _ in range(_MAX_REDIRECTS + 1):
                headers = {
                    "Accept": "application/json, application/jwk-set+json",
                    "Cache-Control": "no-cache",  # a cache between here and the issuer may hold replaced keys
                    **self._authorization(target),
                }
                async with session.get(
                    target,
                    headers=headers,
                    allow_redirects=False,
                    proxy=None if proxy is None else proxy.url,
                    proxy_headers=None if proxy is None else proxy.headers,
                ) as response:
                    if response.status in _REDIRECTS:
                        target = _same_origin(target, response.headers.get("Location", ""))
                        continue
                    if response.status != _HTTP_OK:
                        raise KeyFetchError(
                            f"{target}: answered {response.status} instead of 200",
                            retry_after=retry_after(response.status, response.headers.get("Retry-After", "")),
                            status=response.status,
                            failure=_failure_of_status(response.status),
                        )
                    return await _read_bounded(response, target)
        raise KeyFetchError(f"{url}: more than {_MAX_REDIRECTS} redirects")

    def _authorization(self, url: str) -> dict[str, str]:
        if self._token is None or origin_of(url) not in self._token_origins:
            return {}
        return {"Authorization": f"Bearer {self._token()}"}


def _failure(error: Exception) -> FetchFailure | None:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return FetchFailure.UNKNOWN_HOST
        case aiohttp.ClientConnectorSSLError():
            return FetchFailure.NO_TLS if getattr(error.os_error, "reason", None) in _NO_TLS else None
        case aiohttp.ClientConnectorError():
            return FetchFailure.REFUSED if isinstance(error.os_error, ConnectionRefusedError) else None
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientResponseError():
            return FetchFailure.DISCONNECTED
        case _:
            return None


def _failure_of_status(status: int) -> FetchFailure | None:
    if status >= _SERVER_ERRORS:
        return FetchFailure.SERVER
    return _STATUSES.get(status)


def origin_of(url: str) -> str:
    """Return the origin of a URL in a comparable form (RFC 6454, section 4)."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine, for which plain HTTP is acceptable."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _same_origin(url: str, location: str) -> str:
    target = urljoin(url, location)
    if not location or origin_of(target) != origin_of(url):
        raise KeyFetchError(
            f"{url}: redirects to another host, which is not followed", failure=FetchFailure.REDIRECT
        )
    return target


def retry_after(status: int, value: str) -> float:
    """Return the seconds in the Retry-After of a 429 (RFC 6585, section 4), or 0. Dates are ignored."""
    if status != _TOO_MANY_REQUESTS or not _SECONDS.fullmatch(value):
        return 0.0
    return float(value)


async def _read_bounded(response: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise KeyFetchError(f"{url}: the response is longer than {MAX_BYTES} bytes")
    return bytes(body)
