"""Sources of an issuer's keys in memory, with scripted responses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authgate.dev.compact import json_bytes
from authgate.keys.jwk import KeyDocument, read_jwk_set
from authgate.keys.remote import KeyFetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.dev.keys import SigningKey


def document(*keys: SigningKey, origin: str = "a test") -> KeyDocument:
    """Return the keys as they are read from a JWK Set."""
    return read_jwk_set(json_bytes({"keys": [key.jwk() for key in keys]}), origin)


class ScriptedSource:
    """A `KeySource` that returns `keys`, or raises `error` if it is set. It counts its fetches.

    While `held` is True, fetches wait. `meanwhile` is called during each fetch. `retry_after` is part of the error,
    as after a 429.
    """

    def __init__(self, *keys: SigningKey, error: str | None = None) -> None:
        self.keys = keys
        self.error = error
        self.retry_after = 0.0
        self.fetches = 0
        self.held = False
        self.meanwhile: Callable[[], None] = lambda: None
        self._released = asyncio.Event()

    async def fetch(self) -> KeyDocument:
        """Return the published keys."""
        self.fetches += 1
        self.meanwhile()
        if self.held:
            await self._released.wait()
        if self.error is not None:
            raise KeyFetchError(self.error, retry_after=self.retry_after)
        return document(*self.keys)

    def release(self) -> None:
        """Finish the fetches that are held."""
        self.held = False
        self._released.set()


class ScriptedFetcher:
    """A `Fetcher` of these documents by URL. Other URLs fail. It records its requests."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self.documents = dict(documents)
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """Return the document at a URL."""
        self.asked.append(url)
        if url not in self.documents:
            raise KeyFetchError(f"{url}: answered 404 instead of 200")
        return self.documents[url]
