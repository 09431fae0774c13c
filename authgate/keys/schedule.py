"""When an issuer's keys may be fetched and when they must be: refresh, back-off, cooldown and rechecks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authgate.backoff import backoff, jittered

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.keys.remote import RefreshRules
    from authgate.model import Clock

_RECHECK_PAUSE = 60.0
_RETRY_WITHOUT_KEYS = 5.0
_LONGEST_RETRY_AFTER = 60.0
_FIRST_RETRY = 1.0
_JITTER = 0.1


class FetchSchedule:
    """The times of one key set's fetches, by the monotonic clock; `jitter` returns a number from 0 to 1."""

    def __init__(self, clock: Clock, rules: RefreshRules, jitter: Callable[[], float]) -> None:
        self.failures = 0
        """How many attempts have failed since the last good one."""
        self.attempted_at: float | None = None
        """When the last attempt of this process ended."""
        self.rechecked_at: float | None = None
        """When the last recheck started its fetch."""
        self._now = clock.monotonic
        self._rules = rules
        self._jitter = jitter
        self._due_at = self._due_without_keys_at = self._not_before = self._now()

    def due_at(self, *, usable: bool) -> float:
        """Return when the background must fetch; without `usable` keys that is within 5 s after a failed attempt."""
        if usable:
            return self._due_at
        return max(self._not_before, min(self._due_at, self._due_without_keys_at))

    def cooling_down(self) -> bool:
        """Tell whether an unknown kid starts no fetch now."""
        return self._now() < self._cooldown_ends_at()

    def next_fetch_in(self, *, usable: bool) -> float:
        """Return in how many seconds an unknown kid or the background starts the next fetch."""
        return min(self._cooldown_ends_at(), self.due_at(usable=usable)) - self._now()

    def asked_to_wait(self) -> float:
        """Return for how many seconds the issuer asks to be left alone."""
        return self._not_before - self._now()

    def recheck_at(self) -> float:
        """Return when a signature that no known key verifies may next start a fetch."""
        return self._now() if self.rechecked_at is None else self.rechecked_at + _RECHECK_PAUSE

    def may_recheck(self) -> bool:
        """Tell whether such a signature may start a fetch now, which a cooldown after a good fetch does not prevent."""
        if self.asked_to_wait() > 0 or (self.failures and self.cooling_down()):
            return False
        return self.recheck_at() <= self._now()

    def succeeded(self) -> None:
        """Plan the next fetch after a good one, be it another process's."""
        self.failures = 0
        self._due_at = self._after(self._rules.refresh)

    def failed(self, started: float, retry_after: float) -> None:
        """Plan the next fetch after a failed attempt; what a 429 asked for is honoured up to a minute."""
        self.failures += 1
        self._not_before = self._now() + min(retry_after, _LONGEST_RETRY_AFTER)
        backed_off = self._after(backoff(self.failures, _FIRST_RETRY, self._rules.refresh))
        self._due_at = max(self._not_before, backed_off)
        # An attempt that used up its timeout is followed by the next after a second.
        pause = max(_FIRST_RETRY, _RETRY_WITHOUT_KEYS - (self._now() - started))
        self._due_without_keys_at = self._after(pause)

    def _cooldown_ends_at(self) -> float:
        if self.attempted_at is None:
            return self._not_before
        return max(self._not_before, self.attempted_at + self._rules.cooldown)

    def _after(self, wait: float) -> float:
        return self._now() + jittered(min(wait, self._rules.refresh), _JITTER, self._jitter)
