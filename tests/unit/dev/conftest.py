from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.dev.kube import KubeState

if TYPE_CHECKING:
    from tests.support.clock import FakeClock
    from tests.support.key_pool import KeyPool


@pytest.fixture
def state(pool: KeyPool, clock: FakeClock) -> KubeState:
    """Return an empty cluster with a fixed time."""
    return KubeState(pool.key("ES256"), clock=clock.now)
