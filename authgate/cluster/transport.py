"""HTTP to one API server: it follows no redirect, keeps no cookie, and reads within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from authgate import __version__
from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.tls import TLSContexts
from authgate.system_trust import system_trust

if TYPE_CHECKING:
    import ssl

    from authgate.cluster.connection import Connection
    from authgate.cluster.credentials import Credential

_CONNECTIONS: Final = 100
_KEEP_ALIVE: Final = 60.0
_MAX_ERROR_BODY: Final = 1 << 16


class Transport:
    """Sends requests to the API server of `connection`; raises `ClusterConfigError` if its certificates are unusable.

    A redirect is returned as it is: following it would send the tokens in the request to another host. Every request
    goes through the connection's proxy, if it has one. ~/.netrc is not read, and a compressed answer is not asked for.
    """

    def __init__(self, connection: Connection, credential: Credential) -> None:
        self._connection = connection
        self._tls = TLSContexts(connection) if connection.server.startswith("https:") else None
        if self._tls is not None:
            self._tls.context(credential.certificate)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": f"authgate/{__version__}"},
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(),  # none: the callers have their own, and a watch lasts for minutes
        )

    async def get(self, path: str, credential: Credential, accept: str) -> aiohttp.ClientResponse:
        """Send a GET, and return the answer with its body unread."""
        return await self._request("GET", path, credential, {"Accept": accept})

    async def post(
        self, path: str, body: bytes, credential: Credential, content_type: str = "application/json"
    ) -> aiohttp.ClientResponse:
        """Send a POST, and return the answer with its body unread.

        A kept connection may turn out to have been closed by the server, and aiohttp does not repeat a POST then. These
        requests change nothing on the server, so this one is sent once more.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            return await self._request("POST", path, credential, headers, body)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._request("POST", path, credential, headers, body)

    async def _request(
        self,
        method: str,
        path: str,
        credential: Credential,
        headers: dict[str, str],
        body: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        connection = self._connection
        if credential.authorization is not None:
            headers = {**headers, "Authorization": credential.authorization}
        return await self._session.request(
            method,
            connection.server + path,
            headers=headers,
            data=body,
            allow_redirects=False,
            ssl=self._trust(credential),
            server_hostname=connection.server_name,
            proxy=None if connection.proxy is None else connection.proxy.url,
            proxy_headers=None if connection.proxy is None else connection.proxy.headers,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def _trust(self, credential: Credential) -> ssl.SSLContext | bool:
        if self._tls is not None:
            return self._tls.context(credential.certificate)
        return True if self._connection.proxy is None else system_trust()  # the proxy may use TLS


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer with its body; `retry_after` and `date` are the headers' values as sent, or ""."""

    status: int
    retry_after: str
    body: bytes = field(repr=False)
    date: str = ""


async def read_answer(response: aiohttp.ClientResponse, limit: int) -> RawAnswer:
    """Read a 2xx body of at most `limit` bytes, or the first 64 KiB of another; a longer 2xx body is an `ApiError`.

    If the body is not read to its end, the connection is closed instead of drained.
    """
    good = 200 <= response.status <= 299
    bound = limit if good else _MAX_ERROR_BODY
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > bound:
                break
    finally:
        # After the end of the body the connection is back in the pool already, and this does nothing.
        response.close()
    if good and len(body) > limit:
        raise ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is longer than {limit} bytes")
    headers = response.headers
    return RawAnswer(
        response.status, headers.get("Retry-After", ""), bytes(body[:bound]), headers.get("Date", "")
    )
