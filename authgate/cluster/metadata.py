"""Lists and watches of metadata, over the same connections and credentials as other requests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.failures import network_error
from authgate.cluster.transport import read_answer
from authgate.cluster.watch import ExpiredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from authgate.cluster.client import ClusterClient
    from authgate.cluster.failures import Call

_EXPIRED: Final = 410
_PAGE_TIME: Final = 30.0
"""Seconds for one page: a server that has just started is slow."""


class MetadataReader:
    """Implements `authgate.cluster.watch.WatchAPI` with one cluster's client."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    async def read(self, call: Call, path: str, accept: str, limit: int) -> bytes:
        """Return the body of a 200 answer to GET `path`, at most `limit` bytes."""
        async with self._answered(call, path, accept) as response:
            async with asyncio.timeout(_PAGE_TIME):
                return (await read_answer(response, limit)).body

    @asynccontextmanager
    async def follow(self, call: Call, path: str, accept: str) -> AsyncIterator[aiohttp.StreamReader]:
        """Open GET `path` and yield its body as it arrives; raises `ApiError`, also if the body breaks off."""
        async with self._answered(call, path, accept) as response:
            yield response.content

    @asynccontextmanager
    async def _answered(self, call: Call, path: str, accept: str) -> AsyncIterator[aiohttp.ClientResponse]:
        client = self._client
        response = await client.open(call, path, accept)
        # Raised after the handlers: aiohttp's errors carry the request's headers, and must not become the context.
        failure: Exception
        try:
            if response.status != 200:
                answer = await read_answer(response, 0)
                failure = ExpiredError() if answer.status == _EXPIRED else client.status_error(call, answer)
            else:
                yield response
                return
        except TimeoutError:
            failure = ApiError(ApiErrorKind.TIMEOUT, f"{call.asked}: the answer does not end in time")
        except (
            aiohttp.ClientPayloadError
        ):  # cut off, as when a server is killed; the events before it are valid
            failure = ApiError(ApiErrorKind.UNREACHABLE, f"{call.asked}: the connection broke off")
        except (aiohttp.ClientError, OSError) as error:
            failure = network_error(call, error, client.connection.server)
        finally:
            _abort(response)
        raise failure


def _abort(response: aiohttp.ClientResponse) -> None:
    """Abort a connection, unless its body was read to the end and it is back in the pool.

    An orderly close of TLS would wait for a server that may no longer exist.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
