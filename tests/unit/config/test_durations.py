from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authgate.config import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("60s", 60.0),
        ("5m", 300.0),
        ("24h", 86400.0),
        ("1h30m", 5400.0),
        ("1h1m1s1ms", 3661.001),
        ("1.5s", 1.5),
        ("0s", 0.0),
        (0, 0.0),
        (90, 90.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_as_seconds(text: object, seconds: float) -> None:
    """Each form of a duration is parsed."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "60",
        "60 s",
        "s",
        "-5s",
        -5,
        "1d",
        "30m1h",
        "1m1m",
        "5S",
        "1e3s",
        "٣s",
        "5s\n",
        "1" * 20 + "s",
        True,
        False,
        float("nan"),
        float("inf"),
        10**400,
        None,
        [],
        {},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_values_are_refused_with_the_forms(value: object) -> None:
    """The message lists the forms."""
    with pytest.raises(ValueError, match='must be a duration such as "500ms"'):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (60, "1m"),
        (75.0, "1m15s"),
        (5400, "1h30m"),
        (1000000.001, "277h46m40.001s"),
        (1.5, "1.5s"),
        (0.0005, "0.5ms"),
    ],
)
def test_a_duration_is_written_in_large_units(seconds: float, text: str) -> None:
    """Hours and minutes are used where possible."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**10).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_reads_back(seconds: float) -> None:
    """Writing and reading a duration gives the same one."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)
