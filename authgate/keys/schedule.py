"""When an issuer's keys may be fetched and when they must be: refresh, backoff, cooldown and rechecks."""

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
    """Schedules the fetches of one key set by the monotonic clock; `jitter` returns a number from 0 to 1."""

    def __init__(self, clock: Clock, rules: RefreshRules, jitter: Callable[[], float]) -> None:
        self.failures = 0
        """The number of failed fetches since the last successful one."""
        self.attempted_at: float | None = None
        """When this process's last fetch ended."""
        self.rechecked_at: float | None = None
        """When the last recheck started a fetch."""
        self._now = clock.monotonic
        self._rules = rules
        self._jitter = jitter
        self._due_at = self._due_without_keys_at = self._not_before = self._now()

    def due_at(self, *, usable: bool) -> float:
        """Return when the next background fetch is due; without `usable` keys at most 5 s after a failed fetch."""
        if usable:
            return self._due_at
        return max(self._not_before, min(self._due_at, self._due_without_keys_at))

    def cooling_down(self) -> bool:
        """Return whether an unknown kid must not start a fetch now."""
        return self._now() < self._cooldown_ends_at()

    def next_fetch_in(self, *, usable: bool) -> float:
        """Return the seconds until an unknown kid or the background may start the next fetch."""
        return min(self._cooldown_ends_at(), self.due_at(usable=usable)) - self._now()

    def retry_after(self) -> float:
        """Return the seconds left of the issuer's Retry-After; negative if it has passed."""
        return self._not_before - self._now()

    def recheck_at(self) -> float:
        """Return when a signature that no known key verifies may start a fetch again."""
        return self._now() if self.rechecked_at is None else self.rechecked_at + _RECHECK_PAUSE

    def may_recheck(self) -> bool:
        """Return whether such a signature may start a fetch now, even in the cooldown after a successful fetch."""
        if self.retry_after() > 0 or (self.failures and self.cooling_down()):
            return False
        return self.recheck_at() <= self._now()

    def succeeded(self) -> None:
        """Schedule the next fetch after a successful one of this or another process."""
        self.failures = 0
        self._due_at = self._after(self._rules.refresh)

    def failed(self, started: float, retry_after: float) -> None:
        """Schedule the next fetch after a failed one; a Retry-After is respected up to a minute."""
        self.failures += 1
        self._not_before = self._now() + min(retry_after, _LONGEST_RETRY_AFTER)
        retry_at = self._after(backoff(self.failures, _FIRST_RETRY, self._rules.refresh))
        self._due_at = max(self._not_before, retry_at)
        # After a fetch that took its whole timeout, the next one follows after a second.
        pause = max(_FIRST_RETRY, _RETRY_WITHOUT_KEYS - (self._now() - started))
        self._due_without_keys_at = self._after(pause)

    def _cooldown_ends_at(self) -> float:
        if self.attempted_at is None:
            return self._not_before
        return max(self._not_before, self.attempted_at + self._rules.cooldown)

    def _after(self, wait: float) -> float:
        return self._now() + jittered(min(wait, self._rules.refresh), _JITTER, self._jitter)
