"""Keys that are fetched one by one, when a token names them: AWS load balancers have no key set."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from authgate.keys.jwk import KeyDocumentError, read_pem_key
from authgate.keys.key_set import (
    KeyIndex,
    KeyMismatch,
    KeyPending,
    KeySetDetails,
    KeyStatus,
    KeysUnavailable,
    KeyUnknown,
    LocalLookup,
    Lookup,
)
from authgate.keys.remote import FetchReport, KeyFetchError
from authgate.single_flight import SingleFlight
from authgate.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.keys.fetch import Fetcher
    from authgate.keys.remote import RefreshRules
    from authgate.model import Clock

_KID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_KEYS: Final = 64
_MAX_ATTEMPTS: Final = 4
"""Fetches for unknown key ids within the cooldown."""
_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403  # S3 also answers this for an object that does not exist, and a firewall for any


@dataclass(slots=True)
class _Held:
    index: KeyIndex
    at: float
    since: float
    retry_at: float = 0.0
    """From when the key may be fetched again after a failed fetch."""


class OnDemandKeySet:
    """Keys at `base`/KID in PEM, for key ids that look like a UUID; at most 64 are kept, the last used.

    A key is fetched again after `refresh`, and used up to `max_stale` while fetches fail, which are repeated after
    `cooldown`. Unknown key ids start at most four fetches within `cooldown`.
    """

    def __init__(
        self,
        base: str,
        fetcher: Fetcher,
        clock: Clock,
        rules: RefreshRules,
        on_fetch: Callable[[FetchReport], None] = lambda _: None,
    ) -> None:
        self._base = base.rstrip("/")
        self._fetcher = fetcher
        self._clock = clock
        self._rules = rules
        self._on_fetch = on_fetch
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._attempts: deque[float] = deque(maxlen=_MAX_ATTEMPTS)
        self._fetches: SingleFlight[str, Lookup | None] = SingleFlight()
        self._error = ""

    @property
    def kids(self) -> frozenset[str]:
        """The key ids in memory."""
        return frozenset(self._held)

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the key from memory, or None if it must be fetched."""
        held = None if kid is None else self._held.get(kid)
        if held is None or kid is None or self._age(held) > self._rules.max_stale:
            return None
        if self._age(held) > self._rules.refresh and self._clock.monotonic() >= held.retry_at:
            return None
        self._held.move_to_end(kid)
        return held.index.find(kid, algorithm)

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the key after at most one shared fetch."""
        if kid is None or not _KID.fullmatch(kid):
            return KeyUnknown("key ids of load balancers are UUIDs")
        found = self.find(kid, algorithm)
        if found is not None:
            return found
        held = self._held.get(kid)
        if held is not None and (wait := held.retry_at - self._clock.monotonic()) > 0:
            return KeysUnavailable(self._error, max(1, round(wait)))
        if not self._fetches.in_progress(kid) and held is None and not self._may_fetch():
            return KeyPending("too many unknown key ids", max(1, round(self._rules.cooldown)))
        failed = await self._fetches.do(kid, lambda: self._fetch(kid))
        held = self._held.get(kid)
        if held is not None and self._age(held) <= self._rules.max_stale:
            return held.index.find(kid, algorithm) or KeyMismatch(kid, held.index.handle)
        return failed or KeyUnknown()

    def recheck_at(self) -> float:
        """Return infinity: a key is never replaced under its id."""
        return inf

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the same key as before."""
        return await self.resolve(kid, algorithm)

    def status(self) -> KeyStatus:
        """Return that tokens can be decided: their keys are fetched when they are needed."""
        detail = f"{counted(len(self._held), 'key')}, fetched when tokens name them"
        if self._error:
            detail += f"; the last fetch failed: {self._error}"
        return KeyStatus(usable=True, detail=detail)

    def details(self) -> KeySetDetails:
        """Return the keys in memory, the last used first. The next fetch is whenever a token needs one."""
        now = self._clock.monotonic()
        held = {kept.index.keys[0].fingerprint: kept for kept in reversed(self._held.values())}
        return KeyIndex(kept.index.keys[0] for kept in held.values()).details(
            lambda key: now - held[key.fingerprint].since,
            fetched_ago=min((now - kept.at for kept in held.values()), default=None),
        )

    async def close(self) -> None:
        """End the fetches under way."""
        await self._fetches.close()

    def _age(self, held: _Held) -> float:
        return self._clock.monotonic() - held.at

    def _may_fetch(self) -> bool:
        now = self._clock.monotonic()
        if len(self._attempts) == _MAX_ATTEMPTS and now - self._attempts[0] < self._rules.cooldown:
            return False
        self._attempts.append(now)
        return True

    async def _fetch(self, kid: str) -> Lookup | None:
        """Fetch a key; return None, or why no key is available."""
        url = f"{self._base}/{kid}"
        try:
            key = read_pem_key(kid, await self._fetcher.fetch(url), url)
        except KeyFetchError as error:
            if error.status == _NOT_FOUND or (error.status == _FORBIDDEN and kid not in self._held):
                self._error = ""
                self._drop(kid)
                return KeyUnknown("no load balancer has this key")
            return self._failed(kid, str(error))
        except KeyDocumentError as error:
            return self._failed(kid, f"{url}: {error}")
        self._error = ""
        held = self._held.get(kid)
        same = held is not None and held.index.keys[0].fingerprint == key.fingerprint
        if not same:
            self._drop(kid)
        index = held.index if held is not None and same else KeyIndex([key])
        now = self._clock.monotonic()
        self._held[kid] = _Held(index, now, held.since if held is not None and same else now)
        while len(self._held) > _MAX_KEYS:
            self._held.popitem(last=False)
        self._on_fetch(FetchReport(keys=len(self._held), at=self._clock.now()))
        return None

    def _failed(self, kid: str, error: str) -> KeysUnavailable:
        self._error = error
        if (held := self._held.get(kid)) is not None:
            held.retry_at = self._clock.monotonic() + self._rules.cooldown
        self._on_fetch(FetchReport(error=error, keys=len(self._held), at=self._clock.now()))
        return KeysUnavailable(error, max(1, round(self._rules.cooldown)))

    def _drop(self, kid: str) -> None:
        """Remove a key, so that cached verdicts with it become invalid."""
        held = self._held.pop(kid, None)
        if held is not None:
            held.index.handle.revoke()
            for key in held.index.keys:
                key.handle.revoke()
