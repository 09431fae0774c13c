"""Keys that are fetched: when to fetch, what to keep while a fetch fails, and what to say about a kid nobody knows."""

from __future__ import annotations

import asyncio
import random
import re
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Protocol

from authgate.keys.key_set import (
    KeyIndex,
    KeyPending,
    KeyStatus,
    KeysUnavailable,
    KeyUnknown,
    LocalLookup,
    Lookup,
)
from authgate.keys.schedule import FetchSchedule
from authgate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.keys.jwk import KeyDocument
    from authgate.model import Clock

MAX_PATIENCE = 1.5
"""The longest wait for a later fetch, in seconds: a waiting client soon needs its answer."""

_MAX_ASKED_KIDS = 1024
_MAX_WAITING = 256
_MISSING_KID_MEMORY = 60.0
_QUERY = re.compile(r"(https?://[^\s?#'\"]{1,2048})\?[^\s'\"]*")
_LONGEST_NAP = 1.0
_JUST_NOW = 1.0
_NOW = "now"
_NEXT = "next"


class KeyFetchError(Exception):
    """An issuer's keys could not be fetched; the message says why and holds no secret.

    `retry_after` is how many seconds a server that answered 429 asks to be left alone. The query of a URL is left out
    of the message, since that of a JWKS URL may be a key.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(_QUERY.sub(r"\1?…", message))
        self.retry_after = retry_after


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
    starts no further one. `patience` is how long a request waits for the fetch after the cooldown.
    """

    refresh: float = 300.0
    max_stale: float = 86400.0
    cooldown: float = 5.0
    patience: float = MAX_PATIENCE


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

    `refresh` is called by a background task when `next_refresh` is 0, and for a token whose kid is unknown or whose
    signature the known keys do not verify. All who wait share one fetch.
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
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
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
        self._schedule = FetchSchedule(clock, rules, jitter)
        self._sleep = sleep
        self._index = KeyIndex(())
        self._fetches: SingleFlight[str, None] = SingleFlight()
        self._succeeded_at: float | None = None
        self._error = "not fetched yet"
        self._waiting = 0
        self._asked_kids: OrderedDict[str | None, float] = OrderedDict()
        self._vanished_kids: frozenset[str] = frozenset()

    @property
    def _usable(self) -> bool:
        return (
            self._succeeded_at is not None
            and self._clock.monotonic() - self._succeeded_at <= self._rules.max_stale
        )

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the keys that fit, from memory; None for an unknown kid and where the last good keys are too old."""
        return self._index.find(kid, algorithm) if self._usable else None

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the keys that fit, after at most one shared fetch.

        `KeyUnknown` means that a good fetch did not bring the kid after somebody asked for it; that is remembered for a
        minute. Within the cooldown after a good fetch a `patient` caller waits for the next one where it is near, else
        the answer is `KeyPending`. After a failed attempt it is `KeysUnavailable`.
        """
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        if self._missing(kid):
            return KeyUnknown("the issuer's keys were fetched for this kid before")
        if self._fetches.under_way(_NOW) or not self._schedule.cooling_down():
            await self.refresh()
        elif self._schedule.failures or not self._usable:
            return self._unavailable()
        elif not (patient and await self._next_fetch()):
            self._remember_asked(kid, self._clock.monotonic())
            return self._pending("the issuer's keys were fetched a moment ago without this kid")
        return self._after_fetch(kid, algorithm)

    def recheck_at(self) -> float:
        """Return when `recheck` may next find replaced keys, by the monotonic clock.

        That is now during a fetch and after a failed one, else a minute after the last time, so that forged tokens
        cannot drive fetches.
        """
        if self._schedule.failures or self._fetches.under_way(_NOW):
            return self._clock.monotonic()
        return self._schedule.recheck_at()

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the keys that fit after a shared fetch, because those in memory did not verify a signature.

        At most once a minute such a fetch is started, also within the cooldown after a good one. After a failed fetch
        the answer is `KeysUnavailable`: the issuer may have replaced the key in the meantime.
        """
        if self._fetches.under_way(_NOW):
            await self.refresh()
        elif self._schedule.may_recheck():
            self._schedule.rechecked_at = self._clock.monotonic()
            await self.refresh()
        return self._unavailable() if self._schedule.failures else self._after_fetch(kid, algorithm)

    def inherit(self, other: RemoteKeySet) -> None:
        """Take over the keys of another set and their age, where both read from one `place` and this one has none."""
        if self._succeeded_at is None and self.place and self.place == other.place:
            self._index = other._index
            self._succeeded_at = other._succeeded_at
            self._schedule.rechecked_at = other._schedule.rechecked_at

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
        await self._fetches.do(_NOW, self._fetch)

    def next_refresh(self) -> float:
        """Return in how many seconds the background should refresh: 0 for now.

        After failures the wait grows up to `refresh` while the last good keys serve. Without usable keys it is at most
        5 s, since a gate that is not ready gets no requests that would start a fetch.
        """
        return max(0.0, self._schedule.due_at(usable=self._usable) - self._clock.monotonic())

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
        if self._schedule.failures:
            detail += f"; {self._schedule.failures} failed fetches since: {self._error}"
        return KeyStatus(usable=self._usable, detail=detail)

    async def _next_fetch(self) -> bool:
        """Wait for the fetch after the cooldown; return False where it is too far away or too many wait for it."""
        if (
            self._schedule.next_fetch_in(usable=self._usable) > self._rules.patience
            or self._waiting >= _MAX_WAITING
        ):
            return False
        self._waiting += 1
        try:
            await self._fetches.do(_NEXT, self._fetch_when_cool)
        finally:
            self._waiting -= 1
        return True

    async def _fetch_when_cool(self) -> None:
        last = self._schedule.attempted_at
        await self._sleep(max(0.0, self._schedule.next_fetch_in(usable=self._usable)))
        if self._schedule.attempted_at == last:  # else the background has fetched in the meantime
            await self.refresh()

    def _after_fetch(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the result for a kid after a fetch that a request waited for."""
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        if self._schedule.failures or not self._usable or self._succeeded_at is None:
            return self._unavailable()
        self._remember_asked(kid, self._succeeded_at)
        if kid in self._vanished_kids:
            return self._pending("the issuer published this kid until its last answer")
        return KeyUnknown(f"{len(self._index.keys)} keys are published")

    def _unavailable(self) -> KeysUnavailable:
        wait = ceil(self._schedule.asked_to_wait())
        return KeysUnavailable(self._error, max(1, round(self._rules.cooldown), wait))

    def _pending(self, detail: str) -> KeyPending:
        return KeyPending(detail, retry_after=max(1, ceil(self._schedule.next_fetch_in(usable=self._usable))))

    def _missing(self, kid: str | None) -> bool:
        """Return whether a good fetch within the last minute did not bring a kid that was asked for before it.

        A kid that vanished is missing only after a second answer without it: the first may come from a replica of the
        issuer that is behind the others.
        """
        if (
            self._schedule.failures
            or not self._usable
            or self._succeeded_at is None
            or kid in self._vanished_kids
        ):
            return False
        asked_at = self._asked_kids.get(kid)
        return (
            asked_at is not None
            and asked_at <= self._succeeded_at
            and self._clock.monotonic() - self._succeeded_at < _MISSING_KID_MEMORY
        )

    def _remember_asked(self, kid: str | None, at: float) -> None:
        """Remember since when a kid is asked for; a flood of kids drives out the oldest."""
        self._asked_kids[kid] = min(at, self._asked_kids.get(kid, at))
        while len(self._asked_kids) > _MAX_ASKED_KIDS:
            self._asked_kids.popitem(last=False)

    async def _fetch(self) -> None:
        started = self._clock.monotonic()
        try:
            document = await self._source.fetch()
        except KeyFetchError as error:
            self._error = str(error)
            self._schedule.failed(started, error.retry_after)
            self._on_fetch(FetchReport(self._error, len(self._index.keys), (), self._clock.now()))
            return
        finally:
            self._schedule.attempted_at = (
                self._clock.monotonic()
            )  # its end: one that timed out has its cooldown, too
        self._succeed(document, started)
        self.on_document(document)

    def _succeed(self, document: KeyDocument, at: float, *, shared: bool = False) -> None:
        self._adopt(document)
        self._schedule.succeeded()
        self._error = ""
        self._succeeded_at = at
        self._on_fetch(FetchReport(None, len(document.keys), document.skipped, self._clock.now(), shared))

    def _adopt(self, document: KeyDocument) -> None:
        """Take over the fetched keys; a key that stays keeps its object, so verdicts that rest on it live on."""
        kids = frozenset(key.info.kid for key in document.keys if not key.any_kid)
        self._vanished_kids = self._index.kids - kids
        old = {key.fingerprint: key for key in self._index.keys}
        new = {key.fingerprint: old.get(key.fingerprint, key) for key in document.keys}
        if old.keys() == new.keys():
            return
        retired = self._index
        self._index = KeyIndex(new.values())
        retired.handle.revoke()
        for fingerprint, key in old.items():
            if fingerprint not in new:
                key.handle.revoke()
