"""How long a proxy waits for the gate: longer than the gate itself waits for whomever it asks."""

from __future__ import annotations

import math
from typing import Final

from authgate.config.models.cluster import TokenReviewConfig
from authgate.config.models.keys import KeyRefreshConfig

_MARGIN: Final = 1.0


def gate_timeout(keys: float, review: float) -> int:
    """Return the seconds after which a proxy gives up on the gate, from `keys.timeout` and `tokenReview.timeout`.

    One request may wait for discovery, then for the keys, then for a TokenReview, then for an access review.
    """
    return math.ceil(2 * keys + 2 * review + _MARGIN)


GATE_TIMEOUT: Final = gate_timeout(KeyRefreshConfig().timeout, TokenReviewConfig().timeout)
"""With the defaults of the gate's configuration."""
