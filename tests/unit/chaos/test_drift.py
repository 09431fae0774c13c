"""When a long run counts as growing."""

from __future__ import annotations

import pytest

from tests.chaos.drift import Usage, drift


def minutes(rss: list[float], descriptors: list[int] | None = None) -> list[Usage]:
    """One usage for each minute."""
    return [Usage(one, other) for one, other in zip(rss, descriptors or [50] * len(rss), strict=True)]


@pytest.mark.parametrize(
    "rss",
    [[], [100.0], [50.0, 100.0], [60.0, 100.0, 101.0, 100.0, 102.0], [100.0, 100.0, 120.0, 120.0, 100.0]],
    ids=["nothing", "one minute", "two minutes", "warms up", "goes up and down"],
)
def test_flat_memory_is_no_drift(rss: list[float]) -> None:
    """The first minute fills caches and does not count."""
    assert drift(minutes(rss)) == []


def test_memory_that_grows_is_drift() -> None:
    """Two MB a minute for ten minutes on 100 MB are found."""
    assert drift(minutes([100.0 + 2 * n for n in range(11)])) == ["memory grew from 106.0 MB to 116.0 MB"]


def test_descriptors_that_grow_are_drift() -> None:
    """A descriptor that is lost each minute is found."""
    count = 21
    assert drift(minutes([100.0] * count, [50 + n for n in range(count)])) == [
        "descriptors grew from 60 to 70"
    ]
