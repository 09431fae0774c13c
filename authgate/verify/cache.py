"""Remembering verdicts for a while, keyed by a digest that means nothing outside this process."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from authgate.model import Authenticated, BearerToken, Pending, Rejected, Unavailable, Verdict
from authgate.observability.log import event
from authgate.verify.weight import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.model import Clock
    from authgate.verify.router import Verifier

_NEGATIVE_SHARE = 8
_DIGEST_BYTES = 16
_BLOCK_BYTES: Final = 64
_TOGETHER: Final = 0.01  # seconds within which verdicts end together
_EARLIEST, _LATEST = 0.6, 0.85  # parts of its lifetime after which a reviewed verdict is renewed
_MIN_ATTEMPTS: Final = 1024  # failed renewals that are remembered before any is pruned


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How many verdicts are kept, in how many bytes, and for how many seconds.

    Rejections have an eighth of the places and of the bytes of their own. Bytes are estimated; see `weight_of`.
    """

    max_entries: int = 100_000
    ttl: float = 60.0
    negative_ttl: float = 5.0
    max_bytes: int = 268_435_456


class CachingVerifier:
    """A verifier that remembers the final verdicts of another one.

    A verdict is valid for min(ttl, the token's remaining lifetime, its own `max_age` and `until`), and only while
    the lease holds that came with it, so a retired key or a deleted pod takes its verdicts along. `Unavailable` is
    never remembered.
    Rejections are kept apart, so that a flood of bad tokens cannot drive out good ones.

    A verdict that has a `max_age` comes from TokenReview. When it is used late in its lifetime, it is renewed in the
    background, at a moment that differs from token to token, and is given until then.
    """

    def __init__(
        self,
        inner: Verifier,
        clock: Clock,
        rules: CacheRules,
        *,
        on_hit: Callable[[], None] = lambda: None,
        on_miss: Callable[[], None] = lambda: None,
        on_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._rules = rules
        self._on_hit = on_hit
        self._on_miss = on_miss
        # A secret of one whole block before the token keys the digest; nobody sees one, so that none can be extended.
        self._secret = secrets.token_bytes(_BLOCK_BYTES)
        self._until = 0.0
        # When a renewal that is under way, or failed, may be tried again.
        self._attempts: dict[bytes, float] = {}
        self._prune_above = _MIN_ATTEMPTS
        self._renewals: set[asyncio.Task[None]] = set()
        self._good = _LruStore(rules.max_entries, rules.max_bytes, on_eviction)
        self._bad = _LruStore(
            max(1, rules.max_entries // _NEGATIVE_SHARE), rules.max_bytes // _NEGATIVE_SHARE, on_eviction
        )

    def __len__(self) -> int:
        return len(self._good.verdicts) + len(self._bad.verdicts)

    @property
    def weight(self) -> int:
        """The bytes that all remembered verdicts take, as estimated."""
        return self._good.weight + self._bad.weight

    async def verify(self, token: BearerToken) -> Verdict:
        """Return the remembered verdict where one still holds, else the inner verifier's."""
        verdict = self.try_verify(token)
        return await verdict.finish() if isinstance(verdict, Pending) else verdict

    def digest(self, token: bytes) -> bytes:
        """Return what a token is remembered by."""
        return sha256(self._secret + token).digest()[:_DIGEST_BYTES]

    def try_verify(self, token: BearerToken) -> Verdict | Pending[Verdict]:
        """Return the remembered verdict where one still holds, else the inner verifier's or what that waits for."""
        digest = token.digest
        if not digest:
            digest = self.digest(token.text.encode("ascii"))
            remembered = self.lookup_cached(digest)
            if remembered is not None:
                return remembered
        due = self._good.verdicts.get(digest)
        if isinstance(due, Authenticated) and due.max_age is not None and self._holds(due):
            return self._renew(token, digest, due)
        asked_at = self._monotonic()
        verdict = self._inner.try_verify(token)
        if isinstance(verdict, Pending):
            return Pending(lambda: self._finish(verdict, digest, asked_at))
        self._on_miss()
        self._store(digest, verdict, asked_at)
        return verdict

    def _renew(self, token: BearerToken, digest: bytes, verdict: Authenticated) -> Verdict:
        """Start the renewal of a verdict; return the cached verdict, or a new one if it is available at once."""
        now = self._monotonic()
        if len(self._attempts) >= self._prune_above:
            self._attempts = {one: again for one, again in self._attempts.items() if again > now}
            # Pruning visits every entry, so the next one waits until their number has doubled.
            self._prune_above = max(_MIN_ATTEMPTS, 2 * len(self._attempts))
        self._attempts[digest] = now + 1.0
        begun = self._inner.try_verify(token)
        if not isinstance(begun, Pending):
            self._store(digest, begun, now)
            return verdict if isinstance(begun, Unavailable) else begun
        task = asyncio.ensure_future(self._finish_renewal(begun, digest, now))
        self._renewals.add(task)
        task.add_done_callback(self._renewed)
        self._good.verdicts.move_to_end(digest)
        self._on_hit()
        return verdict

    async def _finish_renewal(self, pending: Pending[Verdict], digest: bytes, asked_at: float) -> None:
        verdict = await pending.finish()
        if isinstance(verdict, Unavailable):
            self._attempts[digest] = self._monotonic() + verdict.retry_after
        else:
            self._store(digest, verdict, asked_at)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewals.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            event(
                logging.ERROR, "unexpected error; a verdict was not renewed", error_type=type(error).__name__
            )

    def _is_due(self, digest: bytes, verdict: Authenticated, max_age: float) -> bool:
        """Whether a verdict that still holds has to be renewed now."""
        now, life = self._monotonic(), min(self._rules.ttl, max_age)
        spread = _EARLIEST + (_LATEST - _EARLIEST) * digest[0] / 255
        return now >= verdict.until - life * (1 - spread) and now >= self._attempts.get(digest, 0.0)

    async def _finish(self, pending: Pending[Verdict], digest: bytes, asked_at: float) -> Verdict:
        self._on_miss()
        verdict = await pending.finish()
        self._store(digest, verdict, asked_at)
        return verdict

    def lookup_cached(self, digest: bytes) -> Authenticated | Rejected | None:
        """Return the remembered verdict where one still holds."""
        shelf = self._good
        verdict = shelf.verdicts.get(digest)
        if verdict is None:
            shelf = self._bad
            verdict = shelf.verdicts.get(digest)
            if verdict is None:
                return None
        if not self._holds(verdict):
            shelf.drop(digest)
            return None
        if (
            isinstance(verdict, Authenticated)
            and verdict.max_age is not None
            and self._is_due(digest, verdict, verdict.max_age)
        ):
            return None
        shelf.verdicts.move_to_end(digest)
        self._on_hit()
        return verdict

    def _holds(self, verdict: Authenticated | Rejected) -> bool:
        if self._monotonic() >= verdict.until or (verdict.handle is not None and verdict.handle.revoked):
            return False
        if isinstance(verdict, Rejected):
            return True
        for handle in verdict.object_handles:
            if handle.revoked:
                return False
        return verdict.expires_at is None or self._now() < verdict.expires_at

    def _store(self, digest: bytes, verdict: Verdict, asked_at: float) -> None:
        if isinstance(verdict, Unavailable):
            return
        if isinstance(verdict, Rejected):
            if not verdict.final:
                return
            shelf, life = self._bad, self._rules.negative_ttl
            life = max(life, verdict.remember_for) if life else 0.0
        else:
            shelf, life = self._good, self._rules.ttl
            if verdict.max_age is not None:
                life = min(life, verdict.max_age)
        until = min(asked_at + life, verdict.until)
        if 0 <= until - self._until < _TOGETHER:
            until = self._until  # one number for all of them: it is a fortieth of what each takes
        self._until = until
        remembered = _remembered(verdict, until)
        if self._holds(remembered):
            for either in (self._good, self._bad):  # of two asked at once, the answer that came last counts
                either.drop(digest)
            self._attempts.pop(digest, None)
            shelf.forget_ended(self._monotonic())
            shelf.put(digest, remembered)


class _LruStore:
    """Verdicts of one kind; once they are too many or weigh too much, the least recently used goes first."""

    __slots__ = ("_max_entries", "_max_weight", "_on_eviction", "verdicts", "weight")

    def __init__(self, max_entries: int, max_weight: int, on_eviction: Callable[[], None]) -> None:
        self.verdicts: OrderedDict[bytes, Authenticated | Rejected] = OrderedDict()
        self.weight = 0
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._on_eviction = on_eviction

    def put(self, digest: bytes, verdict: Authenticated | Rejected) -> None:
        verdicts, weight = self.verdicts, weight_of(verdict)
        if weight > self._max_weight:
            return  # it would drive out all others, and then itself
        verdicts[digest] = verdict
        self.weight += weight
        while len(verdicts) > self._max_entries or self.weight > self._max_weight:
            _, oldest = verdicts.popitem(last=False)
            self.weight -= weight_of(oldest)
            self._on_eviction()

    def forget_ended(self, now: float) -> None:
        """Let go of the two least recently used where their time is over: what nobody asks for again does not stay."""
        for _ in range(2):
            digest = next(iter(self.verdicts), None)
            if digest is None or self.verdicts[digest].until > now:
                return
            self.drop(digest)

    def drop(self, digest: bytes) -> None:
        if digest in self.verdicts:
            self.weight -= weight_of(self.verdicts.pop(digest))


def _remembered(verdict: Authenticated | Rejected, until: float) -> Authenticated | Rejected:
    """Return the verdict as the cache gives it, up to a time of the monotonic clock."""
    evidence = verdict.evidence.as_cached()
    if isinstance(verdict, Authenticated):
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
    return Rejected(verdict.reason, verdict.detail, evidence, verdict.final, verdict.handle, until)
