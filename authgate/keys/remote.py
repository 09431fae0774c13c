"""Keys that are fetched: when to fetch, what to keep while a fetch fails, and what to say about a kid nobody knows."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from authgate.keys.key_set import (
    KeyIndex,
    KeyStatus,
    KeysUnavailable,
    KeyUnknown,
    LocalLookup,
    Lookup,
)
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.keys.jwk import KeyDocument
    from authgate.model import Clock

_MAX_REFUSED_KIDS = 1024
_REFUSED_KID_MEMORY = 60.0
_FIRST_RETRY = 1.0
_RETRY_FACTOR = 2.0
_JITTER = 0.1
_LONGEST_NAP = 1.0
_JUST_NOW = 1.0


class KeyFetchError(Exception):
    """An issuer's keys could not be fetched; the message says why and holds no secret."""


class KeySource(Protocol):
    """A place where an issuer publishes its keys."""

    async def fetch(self) -> KeyDocument:
        """Return the keys published now; raises `KeyFetchError` within a bounded time."""
        ...


@dataclass(frozen=True, slots=True)
class RefreshRules:
    """When keys are fetched, in seconds.

    `refresh` is the age at which they are fetched again in the background, `max_stale` the age up to which the last
    good ones serve while fetches fail, `cooldown` the time after any attempt, good or bad, in which an unknown kid
    starts no further one.
    """

    refresh: float = 300.0
    max_stale: float = 86400.0
    cooldown: float = 5.0


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What came of one fetch, for metrics and the log; `error` is None where it succeeded.

    `shared` tells that another process made it.
    """

    error: str | None
    keys: int
    skipped: tuple[str, ...]
    at: float
    shared: bool = False


class RemoteKeySet:
    """The keys of one issuer, fetched from `source`; every rule is driven by `clock`, none by sleeping.

    `refresh` is called by a background task when `next_refresh` says so, and by whoever meets an unknown kid; all
    who wait share one fetch.
    """

    def __init__(
        self,
        source: KeySource,
        clock: Clock,
        rules: RefreshRules,
        on_fetch: Callable[[FetchReport], None] = lambda _: None,
        jitter: Callable[[], float] = random.random,
        *,
        place: str = "",
        on_shared: Callable[[KeyDocument], None] = lambda _: None,
    ) -> None:
        self.place = place
        """Where the keys are fetched from: sets of one place may have each other's."""
        self.on_document: Callable[[KeyDocument], None] = lambda _: None
        """Told of each document that was fetched well."""
        self._source = source
        self._on_shared = on_shared
        self._clock = clock
        self._rules = rules
        self._on_fetch = on_fetch
        self._jitter = jitter
        self._index = KeyIndex(())
        self._fetches: SingleFlight[None, None] = SingleFlight()
        self._succeeded_at: float | None = None
        self._attempted_at: float | None = None
        self._due_at = clock.monotonic()
        self._error = "not fetched yet"
        self._failures = 0
        self._refused_kids: dict[str | None, float] = {}

    @property
    def _usable(self) -> bool:
        return (
            self._succeeded_at is not None
            and self._clock.monotonic() - self._succeeded_at <= self._rules.max_stale
        )

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the keys that fit, from memory; None for an unknown kid and where the last good keys are too old."""
        return self._index.find(kid, algorithm) if self._usable else None

    async def resolve(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the keys that fit, after at most one shared fetch.

        A kid that a good fetch did not bring is remembered for a while; within the cooldown after an attempt no
        further fetch is started. After a failed attempt the answer is `KeysUnavailable`, never `KeyUnknown`.
        """
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        if self._refused_lately(kid):
            return KeyUnknown("the issuer's keys were fetched for this kid before")
        if self._fetches.under_way(None) or not self._cooling_down():
            await self.refresh()
            found = self.find(kid, algorithm)
            if found is not None:
                return found
            if not self._failures:
                self._remember_refused(kid)
        if self._failures or not self._usable:
            return KeysUnavailable(self._error, retry_after=max(1, round(self._rules.cooldown)))
        return KeyUnknown(f"{len(self._index.keys)} keys are published")

    def inherit(self, other: RemoteKeySet) -> None:
        """Take over the keys of another set and their age, where both read from one `place` and this one has none."""
        if self._succeeded_at is None and self.place and self.place == other.place:
            self._index = other._index
            self._succeeded_at = other._succeeded_at

    def take(self, document: KeyDocument) -> None:
        """Take over what another process fetched from the same place just now, and fetch it later oneself.

        Where this one has fetched it just now, too, nobody could say which is newer, and it keeps its own.
        """
        now = self._clock.monotonic()
        if self._succeeded_at is not None and now - self._succeeded_at < _JUST_NOW:
            return
        try:
            self._on_shared(document)
        except KeyFetchError:
            return  # the next fetch of one's own tells it
        self._succeed(document, now, shared=True)

    async def refresh(self) -> None:
        """Fetch the keys now, or join the fetch under way; never raises for a failed fetch."""
        await self._fetches.do(None, self._fetch)

    def next_refresh(self) -> float:
        """Return in how many seconds the background should refresh: 0 for now, backing off after failures."""
        return max(0.0, self._due_at - self._clock.monotonic())

    async def keep_fresh(self) -> None:
        """Refresh whenever it is due, until cancelled."""
        while True:
            wait = self.next_refresh()
            if wait <= 0:
                await self.refresh()
            else:
                # short naps, since a fetch that somebody else needed may have changed what is due
                await asyncio.sleep(min(wait, _LONGEST_NAP))

    async def close(self) -> None:
        """End the fetch under way."""
        await self._fetches.close()

    def status(self) -> KeyStatus:
        """Tell whether the keys can decide now, and how old they are."""
        if self._succeeded_at is None:
            return KeyStatus(usable=False, detail=self._error)
        age = self._clock.monotonic() - self._succeeded_at
        detail = f"{len(self._index.keys)} keys, fetched {age:.0f} s ago"
        if self._failures:
            detail += f"; {self._failures} failed fetches since: {self._error}"
        return KeyStatus(usable=self._usable, detail=detail)

    def _cooling_down(self) -> bool:
        return (
            self._attempted_at is not None
            and self._clock.monotonic() - self._attempted_at < self._rules.cooldown
        )

    def _refused_lately(self, kid: str | None) -> bool:
        if self._failures or not self._usable:
            return False
        refused_at = self._refused_kids.get(kid)
        return refused_at is not None and self._clock.monotonic() - refused_at < _REFUSED_KID_MEMORY

    def _remember_refused(self, kid: str | None) -> None:
        if len(self._refused_kids) >= _MAX_REFUSED_KIDS:
            self._refused_kids.clear()  # a flood of kids: the cooldown alone bounds the fetches
        self._refused_kids[kid] = self._clock.monotonic()

    async def _fetch(self) -> None:
        started = self._clock.monotonic()
        try:
            document = await self._source.fetch()
        except KeyFetchError as error:
            self._failures += 1
            self._error = str(error)
            self._due_at = self._next_due(_FIRST_RETRY * _RETRY_FACTOR ** min(self._failures - 1, 16))
            self._on_fetch(FetchReport(self._error, len(self._index.keys), (), self._clock.now()))
            return
        finally:
            self._attempted_at = self._clock.monotonic()  # its end: one that timed out has its cooldown, too
        self._succeed(document, started)
        self.on_document(document)

    def _succeed(self, document: KeyDocument, at: float, *, shared: bool = False) -> None:
        self._adopt(document)
        self._failures = 0
        self._error = ""
        self._succeeded_at = at
        self._due_at = self._next_due(self._rules.refresh)
        self._on_fetch(FetchReport(None, len(document.keys), document.skipped, self._clock.now(), shared))

    def _next_due(self, wait: float) -> float:
        return self._clock.monotonic() + min(wait, self._rules.refresh) * (1 - _JITTER * self._jitter())

    def _adopt(self, document: KeyDocument) -> None:
        """Take over the fetched keys; a key that stays keeps its object, so verdicts that rest on it live on."""
        old = {key.fingerprint: key for key in self._index.keys}
        new = {key.fingerprint: old.get(key.fingerprint, key) for key in document.keys}
        if old.keys() == new.keys():
            return
        retired = self._index
        self._index = KeyIndex(new.values())
        retired.lease.revoke()
        for fingerprint, key in old.items():
            if fingerprint not in new:
                key.lease.revoke()
