"""The HTTP session under kubernetes_asyncio's client: it follows nothing, keeps nothing, and reads within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp

from authgate.cluster.api import ApiError, ApiErrorKind

if TYPE_CHECKING:
    import ssl

    from authgate.http_proxy import Proxy

_CONNECTIONS: Final = 100
_KEEP_ALIVE: Final = 60.0
_MAX_ERROR_BODY: Final = 1 << 16


class ContextSource(Protocol):
    """Tells the TLS context of the next request, or None for plain HTTP."""

    def __call__(self) -> ssl.SSLContext | None:
        """Return the context."""
        ...


class StraightSession:
    """Stands in for the aiohttp session that kubernetes_asyncio's REST client makes for itself.

    That client calls `request` and `close` of it and nothing else. A redirect is answered as it is: followed, it would
    hand the tokens inside the request to another host. Every request goes through `proxy`, if there is one, and nothing
    is read from ~/.netrc. No cookie is kept, and a compressed answer is not asked for.
    """

    def __init__(self, tls: ContextSource, proxy: Proxy | None = None) -> None:
        self._tls = tls
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    async def request(self, **options: Any) -> aiohttp.ClientResponse:
        """Send one request with the options of `aiohttp.ClientSession.request`."""
        context = self._tls()
        options["ssl"] = True if context is None else context
        options["allow_redirects"] = False
        if self._proxy is not None:
            options["proxy"], options["proxy_headers"] = self._proxy.url, self._proxy.headers
        return await self._session.request(**options)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer with its body; `retry_after` and `date` are the headers' values as sent, or ""."""

    status: int
    retry_after: str
    body: bytes = field(repr=False)
    date: str = ""


async def read_answer(response: aiohttp.ClientResponse, limit: int) -> RawAnswer:
    """Read a 2xx body of at most `limit` bytes, or the beginning of another's; a longer 2xx body is an `ApiError`.

    Where the whole body is not wanted, its connection is closed and not drained.
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
