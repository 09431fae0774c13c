"""Caching verdicts, by a keyed digest of their token that means nothing outside this process."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from authgate.model import (
    Authenticated,
    BearerToken,
    Moment,
    Pending,
    Rejected,
    SenderVerdict,
    Unavailable,
    Verdict,
    present,
)
from authgate.observability.log import event
from authgate.verify.weight import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock
    from authgate.verify.router import Verifier

_V = TypeVar("_V", Authenticated, Rejected)

_NEGATIVE_SHARE = 8
_DIGEST_BYTES = 16
_BLOCK_BYTES: Final = 64
_TOGETHER: Final = 0.01  # seconds; verdicts that expire within them expire together
_EARLIEST, _LATEST = 0.6, 0.85  # share of its lifetime after which a verdict of TokenReview is renewed
_MIN_ATTEMPTS: Final = 1024  # failed renewals that are kept before expired ones are pruned
_STEP: Final = 1.0  # seconds; a clock that is only slowed down differs by less
_RENEWAL_TIMEOUT: Final = 1.0  # seconds after which another renewal may start


@dataclass(frozen=True, slots=True)
class CacheRules:
    """Limits of a cache: entries, estimated bytes (see `weight_of`), and lifetimes in seconds.

    Rejections may use a further eighth of the entries and of the bytes.
    """

    max_entries: int = 100_000
    ttl: float = 60.0
    negative_ttl: float = 5.0
    max_bytes: int = 268_435_456


class VerdictCache:
    """Final verdicts by a digest of their token.

    A verdict is valid for min(ttl, the token's remaining lifetime, its own `max_age` and `until`), and only while its
    handles are not revoked, so the verdicts of a retired key or a deleted pod end with it. `Unavailable` is never
    cached. Rejections are stored separately, so that a flood of bad tokens cannot evict good ones.

    A verdict with a `max_age` comes from TokenReview and is renewed before it expires: `lookup` does not return it
    late in its lifetime, from a moment on that differs from token to token, and `lookup_due` does.
    """

    def __init__(
        self,
        clock: Clock,
        rules: CacheRules,
        *,
        on_hit: Callable[[], None] = lambda: None,
        on_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._rules = rules
        self._on_hit = on_hit
        # The digest is keyed by a secret of one whole block before the token. No digest leaves the process, so length
        # extension does not matter.
        self._keyed = sha256(secrets.token_bytes(_BLOCK_BYTES))
        self._until = 0.0
        self._last_rejection: tuple[Rejected, Rejected] | None = None
        """The last rejection that was cached, and what the cache returns for it."""
        self._ahead = -inf
        """How far the wall clock was ahead of the monotonic clock at the last rejection."""
        # When a renewal that is in progress or has failed may be tried again.
        self._attempts: dict[bytes, float] = {}
        self._prune_above = _MIN_ATTEMPTS
        self._good = _LruStore[Authenticated](rules.max_entries, rules.max_bytes, on_eviction)
        self._bad = _LruStore[Rejected](
            max(1, rules.max_entries // _NEGATIVE_SHARE), rules.max_bytes // _NEGATIVE_SHARE, on_eviction
        )

    def __len__(self) -> int:
        return len(self._good.verdicts) + len(self._bad.verdicts)

    @property
    def weight(self) -> int:
        """The estimated bytes of all cached verdicts."""
        return self._good.weight + self._bad.weight

    def digest(self, token: bytes) -> bytes:
        """Return the key of a token, for any bytes. It has no meaning outside this process."""
        hashed = self._keyed.copy()
        hashed.update(token)
        return hashed.digest()[:_DIGEST_BYTES]

    def lookup(self, digest: bytes) -> Authenticated | Rejected | None:
        """Return the cached verdict, or None if it has expired or must be renewed."""
        return self.lookup_at(digest, present(self._clock))

    def lookup_at(self, digest: bytes, at: Moment) -> Authenticated | Rejected | None:
        """Do the same, with the present time."""
        good = self._good
        verdict = good.verdicts.get(digest)
        if verdict is None:
            return self._lookup_rejected(digest, at)
        # As `_is_valid`, but without another call.
        monotonic, now = at
        if (
            monotonic >= verdict.until
            or verdict.handle.revoked
            or (verdict.expires_at is not None and now >= verdict.expires_at)
            or (verdict.object_handles and not _is_valid(verdict, at))
        ):
            good.drop(digest)
            return None
        if verdict.max_age is not None and self._is_due(digest, verdict, verdict.max_age, monotonic):
            return None
        good.verdicts.move_to_end(digest)
        self._on_hit()
        return verdict

    def _lookup_rejected(self, digest: bytes, at: Moment) -> Rejected | None:
        bad = self._bad
        verdict = bad.verdicts.get(digest)
        if verdict is None:
            return None
        if self._clock_went_back(at):
            bad.clear()
            return None
        if not _is_valid(verdict, at):
            bad.drop(digest)
            return None
        bad.verdicts.move_to_end(digest)
        self._on_hit()
        return verdict

    def lookup_due(self, digest: bytes) -> Authenticated | None:
        """Return a cached verdict of TokenReview that is still valid, although it may have to be renewed."""
        verdict = self._good.verdicts.get(digest)
        if verdict is not None and verdict.max_age is not None and _is_valid(verdict, present(self._clock)):
            return verdict
        return None

    def delay_renewal(self, digest: bytes, seconds: float) -> None:
        """Let `lookup` return a verdict that is due for renewal for some seconds more, while it is valid."""
        now = self._monotonic()
        if len(self._attempts) >= self._prune_above:
            self._attempts = {one: again for one, again in self._attempts.items() if again > now}
            # Pruning visits every entry, so the next one waits until their number has doubled.
            self._prune_above = max(_MIN_ATTEMPTS, 2 * len(self._attempts))
        self._attempts[digest] = now + seconds

    def store(self, digest: bytes, verdict: Verdict, asked_at: float) -> None:
        """Cache a final verdict that was requested at a time of the monotonic clock; ignore any other."""
        self.store_at(digest, verdict, asked_at, present(self._clock))

    def store_at(self, digest: bytes, verdict: Verdict, asked_at: float, at: Moment) -> None:
        """Do the same, with the present time."""
        if isinstance(verdict, Authenticated):
            lifetime = self._rules.ttl
            if verdict.max_age is not None:
                lifetime = min(lifetime, verdict.max_age)
            accepted = _cached(verdict, self._end(asked_at + lifetime, verdict.until))
            if _is_valid(accepted, at):
                self._make_room(digest, self._good, at).put(digest, accepted)
        elif isinstance(verdict, Rejected) and verdict.final:
            lifetime = self._rules.negative_ttl
            lifetime = max(lifetime, verdict.remember_for) if lifetime else 0.0
            if self._clock_went_back(at):
                self._bad.clear()
            rejected = self._cached_rejection(verdict, self._end(asked_at + lifetime, verdict.until))
            if _is_valid(rejected, at):
                self._make_room(digest, self._bad, at).put(digest, rejected)

    def _cached_rejection(self, verdict: Rejected, until: float) -> Rejected:
        """Return the rejection as the cache returns it; the same object for one that ends at the same time."""
        last = self._last_rejection
        if last is not None and last[0] is verdict and last[1].until == until:
            return last[1]
        rejected = Rejected(
            verdict.reason,
            verdict.detail,
            verdict.evidence.as_cached(),
            verdict.final,
            verdict.handle,
            until,
            private=verdict.private,
        )
        self._last_rejection = verdict, rejected
        return rejected

    def _end(self, until: float, own: float) -> float:
        """Return the earlier time. Ends close together are one float object: that saves 24 bytes of a verdict."""
        until = min(until, own)
        if 0 <= until - self._until < _TOGETHER:
            return self._until
        self._until = until
        return until

    def _make_room(self, digest: bytes, store: _LruStore[_V], at: Moment) -> _LruStore[_V]:
        """Drop older verdicts on a token, and expired ones of a store. Of two concurrent requests, the later counts."""
        self._good.drop(digest)
        self._bad.drop(digest)
        if self._attempts:
            self._attempts.pop(digest, None)
        store.drop_expired(at.monotonic)
        return store

    def _clock_went_back(self, at: Moment) -> bool:
        """Return whether the wall clock was set back, so that a token that was rejected as expired may be valid."""
        before, self._ahead = self._ahead, at.now - at.monotonic
        return self._ahead < before - _STEP

    def _is_due(self, digest: bytes, verdict: Authenticated, max_age: float, now: float) -> bool:
        """Return whether a valid verdict must be renewed at a time of the monotonic clock."""
        lifetime = min(self._rules.ttl, max_age)
        spread = _EARLIEST + (_LATEST - _EARLIEST) * digest[0] / 255
        return now >= verdict.until - lifetime * (1 - spread) and now >= self._attempts.get(digest, 0.0)


class CachingVerifier:
    """A verifier that caches the verdicts of another one, and renews verdicts of TokenReview in the background."""

    def __init__(
        self,
        inner: Verifier,
        cache: VerdictCache,
        clock: Clock,
        *,
        on_miss: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._monotonic = clock.monotonic
        self._on_miss = on_miss
        self._renewals: set[asyncio.Task[None]] = set()

    def recognize(self, token: bytes, digest: bytes, at: Moment) -> Authenticated | Rejected | None:
        """Return the verdict of the inner verifier, and cache it. The cache has just returned none for `digest`."""
        if self._cache.lookup_due(digest) is not None:
            return None
        verdict = self._inner.recognize(token, digest, at)
        if verdict is not None:
            self._on_miss()
            self._cache.store_at(digest, verdict, at.monotonic, at)
        return verdict

    def try_verify(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the cached verdict if it is valid, else what the inner verifier returns."""
        digest = token.digest
        if not digest:
            digest = self._cache.digest(token.cache_key)
            cached = self._cache.lookup(digest)
            if cached is not None:
                return cached
        due = self._cache.lookup_due(digest)
        asked_at = self._monotonic()
        if due is not None:
            return self._renew(token, digest, due, asked_at)
        verdict = self._inner.try_verify(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, digest, asked_at))
        self._on_miss()
        self._cache.store(digest, verdict, asked_at)
        return verdict

    async def _finish(self, pending: Pending[Verdict], digest: bytes, asked_at: float) -> Verdict:
        cached = self._cache.lookup(digest)  # another request with this token may have been faster
        if cached is not None:
            return cached
        self._on_miss()
        verdict = await pending.finish()
        self._cache.store(digest, verdict, asked_at)
        return verdict

    def _renew(self, token: BearerToken, digest: bytes, cached: Authenticated, asked_at: float) -> Verdict:
        """Start the renewal of a verdict; return the cached one, or the new one if it needs no I/O."""
        self._cache.delay_renewal(digest, _RENEWAL_TIMEOUT)
        renewed = self._inner.try_verify(token)
        if not isinstance(renewed, Pending):
            self._cache.store(digest, renewed, asked_at)
            return cached if isinstance(renewed, Unavailable) else renewed
        task = asyncio.ensure_future(self._finish_renewal(renewed, digest, asked_at))
        self._renewals.add(task)
        task.add_done_callback(self._on_renewed)
        return self._cache.lookup(digest) or cached

    async def _finish_renewal(self, pending: Pending[Verdict], digest: bytes, asked_at: float) -> None:
        verdict = await pending.finish()
        if isinstance(verdict, Unavailable):
            self._cache.delay_renewal(digest, verdict.retry_after)
        else:
            self._cache.store(digest, verdict, asked_at)

    def _on_renewed(self, task: asyncio.Task[None]) -> None:
        self._renewals.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            event(
                logging.ERROR, "unexpected error; a verdict was not renewed", error_type=type(error).__name__
            )


class _LruStore(Generic[_V]):
    """Verdicts of one kind; beyond a limit the least recently used is evicted first."""

    __slots__ = ("_max_entries", "_max_weight", "_on_eviction", "verdicts", "weight")

    def __init__(self, max_entries: int, max_weight: int, on_eviction: Callable[[], None]) -> None:
        self.verdicts: OrderedDict[bytes, _V] = OrderedDict()
        self.weight = 0
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._on_eviction = on_eviction

    def put(self, digest: bytes, verdict: _V) -> None:
        verdicts, weight = self.verdicts, weight_of(verdict)
        if weight > self._max_weight:
            return  # it would evict all others, and then itself
        verdicts[digest] = verdict
        self.weight += weight
        while len(verdicts) > self._max_entries or self.weight > self._max_weight:
            _, oldest = verdicts.popitem(last=False)
            self.weight -= weight_of(oldest)
            self._on_eviction()

    def drop_expired(self, now: float) -> None:
        """Evict up to two expired entries from the least recently used end."""
        for _ in range(2):
            digest = next(iter(self.verdicts), None)
            if digest is None or self.verdicts[digest].until > now:
                return
            self.weight -= weight_of(self.verdicts.popitem(last=False)[1])

    def clear(self) -> None:
        self.verdicts.clear()
        self.weight = 0

    def drop(self, digest: bytes) -> None:
        verdict = self.verdicts.pop(digest, None)
        if verdict is not None:
            self.weight -= weight_of(verdict)


def _is_valid(verdict: Authenticated | Rejected, at: Moment) -> bool:
    if at.monotonic >= verdict.until or (verdict.handle is not None and verdict.handle.revoked):
        return False
    if isinstance(verdict, Rejected):
        return True
    for handle in verdict.object_handles:
        if handle.revoked:
            return False
    return verdict.expires_at is None or at.now < verdict.expires_at


def _cached(verdict: Authenticated, until: float) -> Authenticated:
    """Return the verdict as the cache returns it, until a time of the monotonic clock."""
    evidence = verdict.evidence.as_cached()
    if isinstance(verdict, SenderVerdict):
        return SenderVerdict(
            verdict.sender, verdict.personal, verdict.expires_at, evidence, verdict.handle, until=until
        )
    return Authenticated(
        verdict.identity,
        verdict.expires_at,
        evidence,
        verdict.handle,
        verdict.max_age,
        verdict.object_handles,
        verdict.claims,
        until,
    )
