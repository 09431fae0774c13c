"""Strict JSON parsing: what RFC 8259 and RFC 7519, section 4 allow an issuer to write, and nothing else."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from authgate.model import JSONValue

if TYPE_CHECKING:
    from collections.abc import Mapping

# Possessive, and an unterminated string matches: otherwise a text of escaped quotes takes quadratic time.
_BRACKETS_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_MAX_DEPTH = 32
_MAX_INTEGER_CHARS = 20  # any 64-bit integer fits


class StrictJSONError(ValueError):
    """The text is not an unambiguous JSON object; `duplicate` is set for a repeated member."""

    def __init__(self, message: str, *, duplicate: bool = False) -> None:
        super().__init__(message)
        self.duplicate = duplicate


def parse_object(data: bytes) -> dict[str, JSONValue]:
    """Parse a JSON object in UTF-8; raises `StrictJSONError`.

    Besides syntax errors, it rejects duplicate members at any level, nesting deeper than 32, `NaN`, `Infinity`, numbers
    that overflow a double, invalid UTF-8 and a byte order mark. The caller limits the size.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJSONError("not UTF-8") from None
    # A text with no more brackets than the limit cannot be nested deeper, so few texts need the scan.
    if text.count("{") + text.count("[") > _MAX_DEPTH and _is_too_deep(text):
        raise StrictJSONError(f"nested deeper than {_MAX_DEPTH}")
    try:
        if text[:1] == "{" and text[-1:] == "}":  # no white space around it, so the faster call will do
            value, end = _DECODER.raw_decode(text)
            if end != len(text):
                raise StrictJSONError("not JSON")
        else:
            value = _DECODER.decode(text)
    except StrictJSONError:
        raise
    except (ValueError, RecursionError):  # the message must not contain the text: it is part of a token
        raise StrictJSONError("not JSON") from None
    if type(value) is not dict:
        raise StrictJSONError("not a JSON object")
    return value


def string_member(members: Mapping[str, JSONValue], name: str) -> str:
    """Return a string, or "" if it is missing or null; raises `StrictJSONError` for another type."""
    value = members.get(name)
    if not isinstance(value, str | None):
        raise StrictJSONError(f"{name} is not a string")
    return value or ""


def _is_too_deep(text: str) -> bool:
    depth = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJSONError("a member occurs twice", duplicate=True)
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictJSONError("a number is out of range")
    return value


def _no_constant(_: str) -> NoReturn:
    raise StrictJSONError("a number is not finite")


def _integer(text: str) -> int | float:
    # RFC 8259, section 6: parsers disagree about numbers beyond a double. Huge ints are also slow to print.
    return int(text) if len(text) <= _MAX_INTEGER_CHARS else _finite(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_no_constant
)
