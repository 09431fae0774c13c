"""Functions that Kubernetes adds to CEL and the CEL library lacks.

Sources: kubernetes staging/src/k8s.io/apiserver/pkg/cel/library/regex.go and lists.go. A method that both lists and
strings have gets another name for lists (`@indexOf`), which bridge.py inserts.
"""

from __future__ import annotations

import datetime
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from authgate.expressions.conversions import READ_BY_GO

if TYPE_CHECKING:
    from collections.abc import Callable

_ORDERED = (bool, int, float, str, datetime.datetime, datetime.timedelta)
_SINGLE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_NUMBERS = (int, float)


def find(text: str, pattern: str) -> str:
    """Return the first match of an RE2 pattern, or ""."""
    import re2

    found = re2.search(pattern, text, _options())
    return "" if found is None else str(found.group())


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """Return all matches of an RE2 pattern, at most `limit` unless that is negative."""
    import re2

    found: list[str] = []
    for match in re2.finditer(pattern, text, _options()):
        if len(found) == limit:
            break
        found.append(match.group())
    return found


def check_pattern(pattern: str) -> str | None:
    """Return why Kubernetes rejects a pattern, or None. It accepts what RE2 does, except for single bytes."""
    import re2

    if _SINGLE_BYTE.search(pattern):
        return r"\C matches bytes, not characters"
    try:
        re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return None


def is_sorted(values: list[object]) -> bool:
    """Return whether the values are in ascending order."""
    return all(not b < a for a, b in pairwise(_comparable(values)))


def minimum(values: list[object]) -> object:
    """Return the smallest value. Raises ValueError for an empty list."""
    return min(_comparable(values))


def maximum(values: list[object]) -> object:
    """Return the largest value. Raises ValueError for an empty list."""
    return max(_comparable(values))


def total(values: list[object], zero: object) -> object:
    """Return the sum of numbers or durations of one type."""
    out = zero
    for value in values:
        if type(value) is not type(zero):
            raise TypeError("sum of different types")
        out = out + value  # type: ignore[operator] # both are int, float or timedelta
    if isinstance(out, int) and not -(2**63) <= out < 2**63:
        raise OverflowError("sum")
    return out


def index_of(values: list[object], item: object) -> int:
    """Return the first index of an equal value, or -1."""
    return next((index for index, value in enumerate(values) if equal(value, item)), -1)


def last_index_of(values: list[object], item: object) -> int:
    """Return the last index of an equal value, or -1."""
    return next((index for index in range(len(values) - 1, -1, -1) if equal(values[index], item)), -1)


def milliseconds(value: datetime.timedelta) -> int:
    """Return a duration in milliseconds, rounded towards zero."""
    whole = abs(value) // datetime.timedelta(milliseconds=1)
    return -whole if value < datetime.timedelta() else whole


def equal(a: object, b: object) -> bool:
    """Compare as CEL does: numbers by value, everything else only with its own type."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS):
        return a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    return type(a) is type(b) and a == b


def _comparable(values: list[Any]) -> list[Any]:
    if len(set(map(type, values))) > 1 or not all(isinstance(value, _ORDERED) for value in values):
        raise TypeError("values of different types, or without an order")
    return values


def _options() -> object:
    import re2

    options = re2.Options()
    options.log_errors = False
    return options


_ANY_LIST = "list<dyn>"
# Without the type `type`: it would also accept optional values, which the CEL library cannot convert to Python.
_KINDS = (
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list<dyn>",
    "map<dyn,dyn>",
    "null",
    "timestamp",
    "duration",
)
_WITH_ITEM = tuple((_ANY_LIST, kind) for kind in _KINDS)

MEMBERS: tuple[tuple[str, tuple[tuple[str, ...], ...], str, Callable[..., object]], ...] = (
    ("find", (("string", "string"),), "string", find),
    ("findAll", (("string", "string"), ("string", "string", "int")), "list<string>", find_all),
    ("isSorted", ((_ANY_LIST,),), "bool", is_sorted),
    ("min", ((_ANY_LIST,),), "dyn", minimum),
    ("max", ((_ANY_LIST,),), "dyn", maximum),
    ("@sum_int", ((_ANY_LIST,),), "int", lambda values: total(values, 0)),
    ("@sum_double", ((_ANY_LIST,),), "double", lambda values: total(values, 0.0)),
    ("@sum_duration", ((_ANY_LIST,),), "duration", lambda values: total(values, datetime.timedelta())),
    ("@milliseconds", (("duration",),), "int", milliseconds),
    *((f"@{kind}_text", (("string",),), "string", reads) for kind, reads in READ_BY_GO.items()),
    ("@indexOf", _WITH_ITEM, "int", index_of),
    ("@lastIndexOf", _WITH_ITEM, "int", last_index_of),
)
"""Each method: its name in evaluated expressions, its parameter types, its result type, and its function."""
