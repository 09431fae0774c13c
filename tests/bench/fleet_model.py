"""Estimate the requests per minute that a fleet of gates sends to one API server. Nothing is measured.

Assumptions:

- Requests for each token are independent (a Poisson process), and the load balancer chooses each gate with equal
  probability.
- A gate fetches keys (discovery, then the JWKS) every `refresh` seconds less up to 10 %, with or without requests.
- With `tokenReview.mode: fallback`, a token that the cluster's own keys verify is never reviewed. With `always`, a gate
  reviews a token when a request arrives and its last review is older than `maxAge`. So a token with fewer requests per
  gate is reviewed at almost every request.
- A watch is opened again when its lifetime ends, which is between half of the maximum and all of it. If nothing changes
  and the server sends no bookmarks (`quiet`), the gate treats the connection as dead after a time of silence, lists one
  page, and opens the watch again.
- Verdicts fit into the cache. Reviews that `tokenReview.qps` would reject count as sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Mode = Literal["fallback", "always", "watch"]
MODES: tuple[Mode, ...] = ("fallback", "always", "watch")
WATCHED = 3
"""The watches: ServiceAccounts, pods and nodes."""
_SILENCE = 75.0
_EARLY = 0.05  # the mean of up to 10 %


@dataclass(frozen=True, slots=True)
class Fleet:
    """The gates and tokens, and the time between requests for each token in seconds."""

    gates: int
    tokens: int
    asked_every: float
    """The average time between two requests with the same token, at any gate."""
    max_age: float = 60.0
    refresh: float = 300.0
    watch_life: float = 600.0
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The requests a minute to the API server."""

    keys: float
    reviews: float
    watches: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.keys + self.reviews + self.watches


def expected(fleet: Fleet, mode: Mode) -> Asked:
    """Return the average requests of the fleet."""
    keys = fleet.gates * 2 * 60 / (fleet.refresh * (1 - _EARLY))
    reviews = watches = 0.0
    if mode == "always":
        # After each review a token is valid for max_age. Then its next request sends a review.
        awaited = fleet.asked_every * fleet.gates
        reviews = fleet.gates * fleet.tokens * 60 / (fleet.max_age + awaited)
    if mode == "watch":
        watches = fleet.gates * WATCHED * 60 / (_SILENCE / 2 if fleet.quiet else 0.75 * fleet.watch_life)
    return Asked(keys, reviews, watches)


def played(fleet: Fleet, minutes: float, seed: int) -> float:
    """Return the reviews a minute of a fleet in mode `always`, by simulating every request of some minutes."""
    chance = random.Random(seed)
    until = 60 * minutes
    reviewed: dict[tuple[int, int], float] = {}
    reviews, now = 0, 0.0
    while (now := now + chance.expovariate(fleet.tokens / fleet.asked_every)) < until:
        at = chance.randrange(fleet.gates), chance.randrange(fleet.tokens)
        if at not in reviewed or now - reviewed[at] >= fleet.max_age:
            reviewed[at] = now
            reviews += 1
    return reviews / minutes
