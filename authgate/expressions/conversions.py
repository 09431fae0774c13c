"""Parse numbers, booleans, durations and timestamps in strings as Go does, and so the kube-apiserver.

The CEL library accepts more: white space, `2562047h48m`, `2020-1-1T00:00:00z`. So a string is parsed here first and
rewritten in a form that both read the same way. Each function raises ValueError for a string that Go rejects.

Sources: cel-go common/types/string.go (ConvertToType); Go's strconv.ParseInt, ParseUint, ParseFloat and ParseBool,
time.ParseDuration, and time.Parse with time.RFC3339.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGITS = "[0-9](?:_?[0-9])*"
_HEX_DIGITS = "[0-9a-fA-F](?:_?[0-9a-fA-F])*"
_INT = re.compile(r"[+-]?[0-9]+")
_UINT = re.compile(r"[0-9]+")
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(
    rf"[+-]?0[xX](?:_?{_HEX_DIGITS}(?:\.(?:{_HEX_DIGITS})?)?|\.{_HEX_DIGITS})[pP][+-]?{_DIGITS}"
)
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), "true"),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), "false"),
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_SECOND: Final = 1_000_000_000
_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "\u00b5s": 1000,
    "\u03bcs": 1000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_MOST = 2**63
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DAYS_IN_400_YEARS: Final = 146_097
_MAX_UNIX: Final = 253_402_300_799
_MIN_UNIX: Final = -62_135_596_800
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 # always UTC: only formatted, never compared


def int_text(text: str) -> str:
    """Normalize a signed 64-bit integer."""
    number = _whole(text, _INT)
    if not -_MOST <= number < _MOST:
        raise ValueError("out of range")
    return str(number)


def uint_text(text: str) -> str:
    """Normalize an unsigned 64-bit integer; it must not have a sign."""
    number = _whole(text, _UINT)
    if number >= 2 * _MOST:
        raise ValueError("out of range")
    return str(number)


def _whole(text: str, pattern: re.Pattern[str]) -> int:
    if not pattern.fullmatch(text):
        raise ValueError("not an integer")
    sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-").lstrip("0")
    if len(digits) > 20:
        raise ValueError("out of range")
    return int(f"{sign}{digits or '0'}")


def double_text(text: str) -> str:
    """Normalize a finite number; `inf` and `nan`, which JSON does not have, are rejected."""
    plain = text.replace("_", "")
    if _DECIMAL.fullmatch(text):
        number = float(plain)
    elif _HEXADECIMAL.fullmatch(text):
        number = float.fromhex(plain)
    else:
        raise ValueError("not a number")
    if not math.isfinite(number):
        raise ValueError("out of range")
    return repr(number)


def bool_text(text: str) -> str:
    """Normalize a boolean to `true` or `false`."""
    if text not in _BOOLS:
        raise ValueError("not a boolean")
    return _BOOLS[text]


def duration_text(text: str) -> str:
    """Normalize a duration of at most 2^63 nanoseconds to seconds and nanoseconds."""
    negative, rest = text.startswith("-"), text[1:] if text[:1] in ("-", "+") else text
    total = 0 if rest == "0" else _nanoseconds(rest)
    if total > _MOST or (total == _MOST and not negative):
        raise ValueError("out of range")
    return f"{'-' if negative else ''}{total // _SECOND}s{total % _SECOND}ns"


def _nanoseconds(text: str) -> int:
    total = position = 0
    while position < len(text) or not text:
        part = _PART.match(text, position)
        if part is None or not (part[1] or part[2]) or part[3] not in _UNITS:
            raise ValueError("not a duration")
        unit = _UNITS[part[3]]
        whole = part[1].lstrip("0")
        if len(whole) > 19:
            raise ValueError("out of range")
        total += int(whole or "0") * unit + _of_fraction(part[2] or "", unit)
        position = part.end()
    return total


def _of_fraction(digits: str, unit: int) -> int:
    """Return the nanoseconds of a fraction, rounded down after multiplying doubles, as Go does."""
    value, scale = 0, 1.0
    for digit in digits:
        longer = value * 10 + int(digit)
        if value > (_MOST - 1) // 10 or longer > _MOST:
            break
        value, scale = longer, scale * 10
    return int(value * (unit / scale)) if value else 0


def timestamp_text(text: str) -> str:
    """Normalize a timestamp in the years 1 to 9999 to UTC, truncated to nanoseconds."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not a timestamp")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    east, offset_hours, offset_minutes = found[8] != "-", int(found[9] or 0), int(found[10] or 0)
    if hour > 23 or minute > 59 or second > 59 or offset_hours > 24 or offset_minutes > 60:
        raise ValueError("out of range")
    cycles, within = divmod(year, 400)  # move the year into 2000 to 2399, because date has no year 0
    days = date(2000 + within, month, day).toordinal() + (cycles - 5) * _DAYS_IN_400_YEARS
    unix = (days - _EPOCH.toordinal()) * 86_400 + hour * 3600 + minute * 60 + second
    offset = offset_hours * 3600 + offset_minutes * 60
    unix += -offset if east else offset
    if not _MIN_UNIX <= unix <= _MAX_UNIX:
        raise ValueError("out of range")
    fraction = (found[7] or "")[:9].ljust(9, "0")
    return f"{(_EPOCH + timedelta(seconds=unix)).isoformat()}.{fraction}Z"


READ_BY_GO: Final[dict[str, Callable[[str], str]]] = {
    "int": int_text,
    "uint": uint_text,
    "double": double_text,
    "bool": bool_text,
    "duration": duration_text,
    "timestamp": timestamp_text,
}
"""The parser for a string by the type that it is converted to."""
