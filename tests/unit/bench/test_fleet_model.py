"""The model of a fleet, held against a play of every request."""

from __future__ import annotations

import pytest

from tests.bench.fleet_model import Fleet, expected, played


@pytest.mark.parametrize(
    ("gates", "asked_every"),
    [(1, 1.0), (1, 60.0), (4, 10.0), (10, 5.0)],
    ids=["often", "seldom", "some gates", "many gates"],
)
def test_reviews_are_as_many_as_when_every_request_is_played(gates: int, asked_every: float) -> None:
    """The formula and the simulation agree, once the first reviews of all tokens are behind."""
    fleet = Fleet(gates, 20, asked_every, max_age=30)
    assert played(fleet, 400, seed=1) == pytest.approx(expected(fleet, "always").reviews, rel=0.05)


def test_reviews_never_exceed_the_requests() -> None:
    """However many gates there are, no more is reviewed than is asked."""
    fleet = Fleet(1000, 100_000, 60)
    assert expected(fleet, "always").reviews < 100_000 / 60 * 60 + 1


def test_what_needs_no_review_asks_for_none() -> None:
    """Keys and watches depend on the number of gates alone."""
    small, large = (Fleet(10, tokens, 60) for tokens in (1, 100_000))
    for mode in ("fallback", "watch"):
        assert expected(small, mode) == expected(large, mode)
        assert expected(large, mode).reviews == 0
