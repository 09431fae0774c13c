"""Pauses between attempts that fail again and again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the pause after one or more failures in a row: `first`, doubled each time up to `longest`."""
    return min(longest, first * 2.0 ** min(failures - 1, 30))


def jittered(seconds: float, share: float, draw: Callable[[], float] = random.random) -> float:
    """Return a duration cut at random by up to a share of it, so that several gates do not act in step."""
    return seconds * (1 - share * draw())
