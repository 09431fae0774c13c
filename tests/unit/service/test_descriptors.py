"""How many connections fit into the file descriptors of a process."""

from __future__ import annotations

import pytest

from authgate.service.limits import connections_for


@pytest.mark.parametrize(
    ("configured", "limit", "listeners", "possible"),
    [
        pytest.param(10_000, 1_048_576, 3, 10_000, id="as configured"),
        pytest.param(10_000, 1024, 1, 768, id="256 are reserved"),
        pytest.param(10_000, 1024, 3, 256, id="listeners share the rest"),
        pytest.param(10_000, 100, 1, 50, id="half of few"),
        pytest.param(10_000, 1, 3, 1, id="one at least"),
        pytest.param(5, 1024, 1, 5, id="fewer than possible"),
    ],
)
def test_descriptors_limit_connections(configured: int, limit: int, listeners: int, possible: int) -> None:
    """A reserve is kept for the admin port, outgoing connections and files."""
    assert connections_for(configured, limit, listeners) == possible
