"""JSON as RFC 8259 and RFC 7519, section 4 let an issuer write it, and nothing more lenient."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from authgate.model import JSONValue

# Possessive, and content with a string that never ends: else a text of escaped quotes would cost its length squared.
_BRACKETS_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_MAX_DEPTH = 32
_MAX_INTEGER_CHARS = 20  # any 64-bit integer fits


class StrictJSONError(ValueError):
    """The text is not a JSON object that can be trusted to mean one thing; `duplicate` tells a repeated member."""

    def __init__(self, message: str, *, duplicate: bool = False) -> None:
        super().__init__(message)
        self.duplicate = duplicate


def parse_object(data: bytes) -> dict[str, JSONValue]:
    """Parse UTF-8 JSON text that must be an object; raises `StrictJSONError`.

    Refused beside bad syntax: duplicate members at any level, nesting deeper than 32, `NaN`, `Infinity` and numbers
    that overflow a double, broken UTF-8, a byte order mark. The caller bounds the size.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJSONError("not UTF-8") from None
    # Only as many brackets as the bound can never be deeper; so almost every text is spared the scan.
    if text.count("{") + text.count("[") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise StrictJSONError(f"nested deeper than {_MAX_DEPTH}")
    try:
        if text[:1] == "{" and text[-1:] == "}":  # nothing stands around it: spare the look for white space
            value, end = _DECODER.raw_decode(text)
            if end != len(text):
                raise StrictJSONError("not JSON")
        else:
            value = _DECODER.decode(text)
    except StrictJSONError:
        raise
    except (ValueError, RecursionError):  # the text itself must not reach a message: it is part of a token
        raise StrictJSONError("not JSON") from None
    if type(value) is not dict:
        raise StrictJSONError("not a JSON object")
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJSONError("a member stands twice", duplicate=True)
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictJSONError("a number is out of range")
    return value


def _no_constant(_: str) -> NoReturn:
    raise StrictJSONError("a number is not finite")


def _integer(text: str) -> int | float:
    # RFC 8259, section 6: beyond a double no reader agrees with the next; and huge ints are slow to print.
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else _finite(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_no_constant
)
