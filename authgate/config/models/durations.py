"""Spans of time as people write them: `500ms`, `60s`, `5m`, `24h`, `1h30m`, or a plain number of seconds."""

from __future__ import annotations

import math
import re

DURATION_PATTERN = (
    r"(?=.)(\d{1,9}(\.\d{1,9})?h)?(\d{1,9}(\.\d{1,9})?m(?!s))?(\d{1,9}(\.\d{1,9})?s)?(\d{1,9}(\.\d{1,9})?ms)?"
)
"""What a duration looks like, for Python and for a JSON Schema: units from the largest to the smallest, each once."""

_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_ADVICE = 'must be a duration such as "500ms", "60s", "5m" or "1h30m", or a number of seconds'


def parse_duration(value: object) -> float:
    """Return a duration in seconds, finite and not negative; raises ValueError with a sentence for anything else."""
    match value:
        case str() if _DURATION.fullmatch(value):
            return math.fsum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
        case bool():
            raise ValueError(_ADVICE)
        case int() if value.bit_length() > 64:
            raise ValueError(_ADVICE)
        case int() | float() if math.isfinite(value) and value >= 0:
            return float(value)
        case _:
            raise ValueError(_ADVICE)


def format_duration(seconds: float) -> str:
    """Write a duration so that `parse_duration` reads it back: to the microsecond."""
    if 0 < seconds < 1:
        return f"{_decimal(seconds * 1000)}ms"
    hours, rest = divmod(float(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(_decimal(count) + unit for count, unit in parts if _decimal(count) != "0") or "0s"


def _decimal(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
