"""Texts that headers and logs can carry, plurals, and how equal texts share memory."""

from __future__ import annotations

import re
import sys

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_clean(value: str) -> bool:
    """Return whether headers and logs can carry a value: no control characters and no lone surrogates."""
    # isprintable() is faster than the expression, and true for most values.
    return value.isprintable() or _UNSAFE.search(value) is None


def visible(text: str) -> str:
    """Return text with non-printable characters escaped.

    In a terminal, control characters could move the cursor or change the title. Others change the direction of text.
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def counted(number: int, thing: str) -> str:
    """Return a number of things: "1 key", "2 keys"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


if sys.version_info[:2] == (3, 12):

    def intern_text(text: str) -> str:
        """Return the text itself: CPython 3.12 never frees interned strings, and clients choose the names in tokens."""
        return text

else:

    def intern_text(text: str) -> str:
        """Return the one copy of a text that many tokens contain; it is freed with the last reference."""
        return sys.intern(text)
