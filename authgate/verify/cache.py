"""Remembering verdicts for a while, keyed by a digest that means nothing outside this process."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from authgate.model import Authenticated, BearerToken, Evidence, Pending, Rejected, Unavailable, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock, Lease
    from authgate.verify.router import Verifier

_NEGATIVE_SHARE = 8
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How many verdicts are kept and for how many seconds; rejections have an eighth of the places of their own."""

    max_entries: int = 100_000
    ttl: float = 60.0
    negative_ttl: float = 5.0


@dataclass(frozen=True, slots=True)
class _Entry:
    verdict: Authenticated | Rejected
    until: float  # monotonic
    expires_at: float | None  # wall clock: the token's own end
    lease: Lease | None
    bonds: tuple[Lease, ...] = ()


class CachingVerifier:
    """A verifier that remembers the final verdicts of another one.

    A verdict lives for min(ttl, the token's remaining life, its own `max_age`), and only while the lease holds that
    came with it, so a retired key or a deleted pod takes its verdicts along. `Unavailable` is never remembered.
    Rejections are kept apart, so that a flood of bad tokens cannot drive out good ones.
    """

    def __init__(
        self,
        inner: Verifier,
        clock: Clock,
        rules: CacheRules,
        on_lookup: Callable[[str], None] = lambda _result: None,
        on_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._rules = rules
        self._on_lookup = on_lookup
        self._on_eviction = on_eviction
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bad: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._good) + len(self._bad)

    async def verify(self, token: BearerToken) -> Verdict:
        """Return the remembered verdict where one still holds, else the inner verifier's."""
        verdict = self.begin(token)
        return await verdict.finish() if isinstance(verdict, Pending) else verdict

    def begin(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the remembered verdict where one still holds, else the inner verifier's or what that waits for."""
        text = token.text.encode("ascii")
        remembered = self.recall(text)
        if remembered is not None:
            return remembered
        digest = self._digest(text)
        asked_at = self._clock.monotonic()
        verdict = self._inner.begin(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, digest, asked_at))
        self._on_lookup("miss")
        self._store(digest, verdict, asked_at)
        return verdict

    async def _finish(self, pending: Pending[Verdict], digest: bytes, asked_at: float) -> Verdict:
        self._on_lookup("miss")
        verdict = await pending.finish()
        self._store(digest, verdict, asked_at)
        return verdict

    def recall(self, token: bytes) -> Authenticated | Rejected | None:
        """Return the remembered verdict where one still holds."""
        digest = self._digest(token)
        entries = self._good
        entry = entries.get(digest)
        if entry is None:
            entries = self._bad
            entry = entries.get(digest)
            if entry is None:
                return None
        if not self._holds(entry):
            del entries[digest]
            return None
        entries.move_to_end(digest)
        self._on_lookup("hit")
        return entry.verdict

    def _digest(self, token: bytes) -> bytes:
        return blake2b(token, digest_size=_DIGEST_BYTES, key=self._key).digest()

    def _holds(self, entry: _Entry) -> bool:
        if entry.lease is not None and entry.lease.revoked:
            return False
        for bond in entry.bonds:
            if bond.revoked:
                return False
        if self._clock.monotonic() >= entry.until:
            return False
        return entry.expires_at is None or self._clock.now() < entry.expires_at

    def _store(self, digest: bytes, verdict: Verdict, asked_at: float) -> None:
        match verdict:
            case Unavailable():
                return
            case Authenticated():
                life = self._rules.ttl if verdict.max_age is None else min(self._rules.ttl, verdict.max_age)
                entry = _Entry(
                    _cached(verdict), asked_at + life, verdict.expires_at, verdict.lease, verdict.bonds
                )
                self._put(self._good, self._rules.max_entries, digest, entry)
            case Rejected():
                if verdict.final:
                    entry = _Entry(_cached(verdict), asked_at + self._rules.negative_ttl, None, verdict.lease)
                    self._put(self._bad, max(1, self._rules.max_entries // _NEGATIVE_SHARE), digest, entry)

    def _put(self, entries: OrderedDict[bytes, _Entry], places: int, digest: bytes, entry: _Entry) -> None:
        if not self._holds(entry):
            return
        for either in (self._good, self._bad):  # of two asked at once, the answer that came last counts
            either.pop(digest, None)
        entries[digest] = entry
        if len(entries) > places:
            entries.popitem(last=False)
            self._on_eviction()


def _cached(verdict: Authenticated | Rejected) -> Authenticated | Rejected:
    evidence = verdict.evidence
    cached = Evidence("cache", evidence.issuer_name, evidence.key)
    match verdict:
        case Authenticated(identity, expires_at, _, lease, max_age, bonds):
            return Authenticated(identity, expires_at, cached, lease, max_age, bonds)
        case Rejected(reason, detail, _, final, lease_or_none):
            return Rejected(reason, detail, cached, final, lease_or_none)
