"""A key set that is fetched: when to fetch, what to keep while fetches fail, and what to return for an unknown kid."""

from __future__ import annotations

import asyncio
import random
import re
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import TYPE_CHECKING, Protocol

from authgate.keys.key_set import (
    KeyIndex,
    KeyPending,
    KeySetDetails,
    KeyStatus,
    KeysUnavailable,
    KeyUnknown,
    LocalLookup,
    Lookup,
)
from authgate.keys.schedule import FetchSchedule
from authgate.single_flight import SingleFlight
from authgate.text import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.keys.jwk import KeyDocument
    from authgate.model import Clock

MAX_PATIENCE = 1.5
"""The longest wait for a later fetch, in seconds: the client is waiting."""

_MAX_REQUESTED_KIDS = 1024
_MAX_WAITING = 256
_MISSING_KID_MEMORY = 60.0
_QUERY = re.compile(r"(https?://[^\s?#'\"]{1,2048})\?[^\s'\"]*")
_MAX_SLEEP = 1.0
_JUST_NOW = 1.0
_NOW = "now"
_NEXT = "next"


class FetchFailure(Enum):
    """Why a request got no document, if that is known."""

    UNKNOWN_HOST = auto()
    REFUSED = auto()
    TIMEOUT = auto()
    NO_TLS = auto()
    """The server answered a TLS handshake with something else."""
    DISCONNECTED = auto()
    """The server closed the connection without a response, as a TLS port does on plain http."""
    REDIRECT = auto()
    """To another origin, which is not followed."""
    CREDENTIALS = auto()
    """401 or 403."""
    NOT_FOUND = auto()
    """404 or 410."""
    BAD_REQUEST = auto()
    """400, as some servers answer plain http on a TLS port."""
    NO_KEY_SET = auto()
    """The document is not a key set."""
    SERVER = auto()
    """A status of 500 or more."""
    LIMITED = auto()
    """429: too many requests."""


class KeyFetchError(Exception):
    """An issuer's keys could not be fetched. The message has the cause and no secret.

    `retry_after` is the Retry-After of a 429 in seconds, `status` the HTTP status of an unusable response, or 0. The
    message omits the query of a URL, because that of a JWKS URL can be an API key.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float = 0.0,
        status: int = 0,
        failure: FetchFailure | None = None,
    ) -> None:
        super().__init__(_QUERY.sub(r"\1?…", message))
        self.retry_after = retry_after
        self.status = status
        self.failure = failure


class KeySource(Protocol):
    """Fetches the published keys of an issuer."""

    async def fetch(self) -> KeyDocument:
        """Return the current keys; raises `KeyFetchError` within a limited time."""
        ...


@dataclass(frozen=True, slots=True)
class RefreshRules:
    """When keys are fetched, in seconds.

    The background fetches keys of age `refresh` again. While fetches fail, the last keys are used up to age
    `max_stale`. For `cooldown` after any fetch, an unknown kid does not start another one. A request waits up to
    `patience` for the fetch after the cooldown.
    """

    refresh: float = 300.0
    max_stale: float = 86400.0
    cooldown: float = 5.0
    patience: float = MAX_PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """The result of one fetch, for metrics and the log; `error` is None if it succeeded.

    If `shared`, another process fetched. `at` is a POSIX timestamp.
    """

    error: str | None = None
    keys: int
    skipped: tuple[str, ...] = ()
    at: float
    shared: bool = False


class RemoteKeySet:
    """The keys of one issuer, fetched from `source`.

    `keep_fresh` calls `refresh` when it is due. So do tokens whose kid is unknown or whose signature the known keys do
    not verify. Concurrent callers share one fetch.
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
        """The URL that the keys are fetched from. Key sets with the same place may share keys."""
        self.on_document: Callable[[KeyDocument], None] = lambda _: None
        """Called with each fetched document."""
        self._source = source
        self._on_shared = on_shared
        self._clock = clock
        self._rules = rules
        self._on_fetch = on_fetch
        self._schedule = FetchSchedule(clock, rules, jitter)
        self._sleep = sleep
        self._index = KeyIndex(())
        self._known_since: dict[bytes, float] = {}
        self._fetches: SingleFlight[str, None] = SingleFlight()
        self._succeeded_at: float | None = None
        self._error = "not fetched yet"
        self._waiting = 0
        self._requested_kids: OrderedDict[str | None, float] = OrderedDict()
        self._disappeared_kids: frozenset[str] = frozenset()

    @property
    def kids(self) -> frozenset[str]:
        """The key ids of the last good fetch."""
        return self._index.kids

    @property
    def _usable(self) -> bool:
        return (
            self._succeeded_at is not None
            and self._clock.monotonic() - self._succeeded_at <= self._rules.max_stale
        )

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the matching keys in memory; None for an unknown kid, or if the keys are too old."""
        return self._index.find(kid, algorithm) if self._usable else None

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the matching keys, after at most one shared fetch.

        `KeyUnknown` means that a successful fetch after the first request for the kid did not return it; that result is
        kept for a minute. In the cooldown after a successful fetch, a `patient` caller waits for the next fetch if it
        is due soon; otherwise the result is `KeyPending`. After a failed fetch it is `KeysUnavailable`.
        """
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        if self._missing(kid):
            return KeyUnknown("the issuer's keys were fetched for this kid before")
        if self._fetches.in_progress(_NOW) or not self._schedule.cooling_down():
            await self.refresh()
        elif self._schedule.failures or not self._usable:
            return self._unavailable()
        elif not (patient and await self._next_fetch()):
            self._note_request(kid, self._clock.monotonic())
            return self._pending("the issuer's keys were fetched a moment ago without this kid")
        return self._after_fetch(kid, algorithm)

    def recheck_at(self) -> float:
        """Return the monotonic time from which `recheck` may find replaced keys.

        That is now during a fetch and after a failed one, else a minute after the last recheck, so that forged tokens
        do not cause many fetches.
        """
        if self._schedule.failures or self._fetches.in_progress(_NOW):
            return self._clock.monotonic()
        return self._schedule.recheck_at()

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the matching keys after a shared fetch, because those in memory did not verify a signature.

        It starts at most one fetch a minute, also in the cooldown after a successful one. After a failed fetch the
        result is `KeysUnavailable`: the issuer may have replaced the key in the meantime.
        """
        if self._fetches.in_progress(_NOW):
            await self.refresh()
        elif self._schedule.may_recheck():
            self._schedule.rechecked_at = self._clock.monotonic()
            await self.refresh()
        return self._unavailable() if self._schedule.failures else self._after_fetch(kid, algorithm)

    def inherit(self, other: RemoteKeySet) -> None:
        """Adopt the keys of another set and their age if both have the same `place` and this one has no keys."""
        if self._succeeded_at is None and self.place and self.place == other.place:
            self._index = other._index
            self._known_since = other._known_since
            self._succeeded_at = other._succeeded_at
            self._schedule.rechecked_at = other._schedule.rechecked_at

    def adopt(self, document: KeyDocument) -> None:
        """Use the document that another process just fetched from the same place, and fetch later.

        If this process has just fetched, too, it keeps its own keys: which document is newer is unknown.
        """
        now = self._clock.monotonic()
        if self._succeeded_at is not None and now - self._succeeded_at < _JUST_NOW:
            return
        try:
            self._on_shared(document)
        except KeyFetchError:
            return  # the next fetch of this process reports it
        self._succeed(document, now, shared=True)

    async def refresh(self) -> None:
        """Fetch the keys now, or wait for the fetch in progress. A failed fetch is not an exception."""
        await self._fetches.do(_NOW, self._fetch)

    def next_refresh(self) -> float:
        """Return the seconds until the next background refresh; 0 means now.

        After failures the wait grows up to `refresh` while the last keys can be used. Without usable keys it is at most
        5 s: a process that is not ready gets no requests, so no token would start a fetch.
        """
        return max(0.0, self._schedule.due_at(usable=self._usable) - self._clock.monotonic())

    async def keep_fresh(self) -> None:
        """Refresh when it is due, until cancelled."""
        while True:
            wait = self.next_refresh()
            if wait <= 0:
                await self.refresh()
            else:
                # wake up often, because a fetch for a request may have changed when the next one is due
                await asyncio.sleep(min(wait, _MAX_SLEEP))

    async def close(self) -> None:
        """Cancel the fetch in progress."""
        await self._fetches.close()

    def status(self) -> KeyStatus:
        """Return whether the keys can be used now, and how old they are."""
        if self._succeeded_at is None:
            return KeyStatus(usable=False, detail=self._error)
        age = self._clock.monotonic() - self._succeeded_at
        detail = f"{counted(len(self._index.keys), 'key')}, fetched {age:.0f} s ago"
        if self._schedule.failures:
            detail += f"; {self._schedule.failures} failed fetches since: {self._error}"
        return KeyStatus(usable=self._usable, detail=detail)

    def details(self) -> KeySetDetails:
        """Return the keys of the last good fetch, and when the last one was and the next one will be."""
        now = self._clock.monotonic()
        return self._index.details(
            lambda key: now - self._known_since[key.fingerprint],
            fetched_ago=None if self._succeeded_at is None else now - self._succeeded_at,
            next_fetch_in=self.next_refresh(),
        )

    async def _next_fetch(self) -> bool:
        """Wait for the fetch after the cooldown; return False if that takes too long or too many requests wait."""
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
        if self._schedule.attempted_at == last:  # otherwise the background has fetched in the meantime
            await self.refresh()

    def _after_fetch(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the result for a kid after a fetch that a request waited for."""
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        if self._schedule.failures or not self._usable or self._succeeded_at is None:
            return self._unavailable()
        self._note_request(kid, self._succeeded_at)
        if kid in self._disappeared_kids:
            return self._pending("the issuer's last response no longer has this kid")
        return KeyUnknown(f"the issuer publishes {counted(len(self._index.keys), 'key')}")

    def _unavailable(self) -> KeysUnavailable:
        wait = ceil(self._schedule.retry_after())
        return KeysUnavailable(self._error, max(1, round(self._rules.cooldown), wait))

    def _pending(self, detail: str) -> KeyPending:
        return KeyPending(detail, retry_after=max(1, ceil(self._schedule.next_fetch_in(usable=self._usable))))

    def _missing(self, kid: str | None) -> bool:
        """Return whether the last fetch succeeded within a minute and lacks a kid that was requested before it.

        A kid that disappeared is missing only after a second response without it, because the first may come from a
        replica of the issuer that is behind the others.
        """
        if (
            self._schedule.failures
            or not self._usable
            or self._succeeded_at is None
            or kid in self._disappeared_kids
        ):
            return False
        requested_at = self._requested_kids.get(kid)
        return (
            requested_at is not None
            and requested_at <= self._succeeded_at
            and self._clock.monotonic() - self._succeeded_at < _MISSING_KID_MEMORY
        )

    def _note_request(self, kid: str | None, at: float) -> None:
        """Store when a kid was first requested; a flood of kids evicts the oldest."""
        self._requested_kids[kid] = min(at, self._requested_kids.get(kid, at))
        while len(self._requested_kids) > _MAX_REQUESTED_KIDS:
            self._requested_kids.popitem(last=False)

    async def _fetch(self) -> None:
        started = self._clock.monotonic()
        try:
            document = await self._source.fetch()
        except KeyFetchError as error:
            self._error = str(error)
            self._schedule.failed(started, error.retry_after)
            self._on_fetch(FetchReport(error=self._error, keys=len(self._index.keys), at=self._clock.now()))
            return
        finally:
            # The end of the fetch, so that one that timed out has a cooldown, too.
            self._schedule.attempted_at = self._clock.monotonic()
        self._succeed(document, started)
        self.on_document(document)

    def _succeed(self, document: KeyDocument, at: float, *, shared: bool = False) -> None:
        self._replace_keys(document, at)
        self._schedule.succeeded()
        self._error = ""
        self._succeeded_at = at
        self._on_fetch(
            FetchReport(
                keys=len(document.keys), skipped=document.skipped, at=self._clock.now(), shared=shared
            )
        )

    def _replace_keys(self, document: KeyDocument, at: float) -> None:
        """Use the fetched keys. A key that was there before keeps its object, so its cached verdicts stay valid."""
        kids = frozenset(key.info.kid for key in document.keys if not key.any_kid)
        self._disappeared_kids = self._index.kids - kids
        old = {key.fingerprint: key for key in self._index.keys}
        new = {key.fingerprint: old.get(key.fingerprint, key) for key in document.keys}
        if old.keys() == new.keys():
            return
        retired = self._index
        self._index = KeyIndex(new.values())
        self._known_since = {fingerprint: self._known_since.get(fingerprint, at) for fingerprint in new}
        retired.handle.revoke()
        for fingerprint, key in old.items():
            if fingerprint not in new:
                key.handle.revoke()
