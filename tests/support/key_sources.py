"""Places where an issuer publishes its keys, in memory: each answers as its test scripts it."""

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
    """The keys as they are read from a JWK Set."""
    return read_jwk_set(json_bytes({"keys": [key.jwk() for key in keys]}), origin)


class ScriptedSource:
    """A `KeySource` that publishes `keys`, or fails with `error` where there is one; counts its fetches.

    While `held`, a fetch has begun and does not end. `meanwhile` is called during each fetch. `retry_after` is what a
    failing issuer asks for with a 429.
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
        """What is published now."""
        self.fetches += 1
        self.meanwhile()
        if self.held:
            await self._released.wait()
        if self.error is not None:
            raise KeyFetchError(self.error, retry_after=self.retry_after)
        return document(*self.keys)

    def release(self) -> None:
        """Lets the fetches that are held go on."""
        self.held = False
        self._released.set()


class ScriptedFetcher:
    """A `Fetcher` of these documents by URL; any other URL fails. Keeps what it was asked for."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self.documents = dict(documents)
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        """The document at a URL."""
        self.asked.append(url)
        if url not in self.documents:
            raise KeyFetchError(f"{url}: answered 404 instead of 200")
        return self.documents[url]
