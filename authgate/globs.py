r"""Globs: patterns in which `*` matches any run of characters, including none, and `\*` matches a star.

A backslash is special only before a star: `\\*` matches a backslash and then any characters, `a\b` matches itself.
Matching takes linear time: each literal part is searched once, from left to right, without backtracking.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STARS: Final = 8
"""The most stars in one configured glob."""

MAX_GLOBS: Final = 64
"""The most globs in one configured list; exact texts do not count."""

_STAR = re.compile(r"(\\*)\*")


def parts_of(glob: str) -> tuple[str, ...]:
    """Split a glob at its stars into literal texts; a glob without a star has one part."""
    parts, text, position = [], "", 0
    for found in _STAR.finditer(glob):
        backslashes = len(found[1])
        text += glob[position : found.start()] + "\\" * (backslashes // 2)
        position = found.end()
        if backslashes % 2:
            text += "*"
        else:
            parts.append(text)
            text = ""
    return (*parts, text + glob[position:])


class Glob:
    """One glob, parsed."""

    __slots__ = ("_between", "_exact", "_first", "_last", "_shortest")

    def __init__(self, glob: str) -> None:
        parts = parts_of(glob)
        self._exact = len(parts) == 1
        self._first, self._between, self._last = parts[0], tuple(filter(None, parts[1:-1])), parts[-1]
        self._shortest = sum(map(len, parts))

    def matches(self, text: str) -> bool:
        """Return whether the glob matches the whole text."""
        if self._exact:
            return text == self._first
        if len(text) < self._shortest or not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        position, end = len(self._first), len(text) - len(self._last)
        for part in self._between:
            position = text.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True


class Globs:
    """A list of globs. Those without a star are in a set, so their number does not slow a match down."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, globs: Iterable[str]) -> None:
        parsed = [(glob, parts_of(glob)) for glob in globs]
        self._exact = frozenset(parts[0] for _, parts in parsed if len(parts) == 1)
        self._globs = tuple(Glob(glob) for glob, parts in parsed if len(parts) > 1)

    def match(self, text: str) -> bool:
        """Return whether any glob matches the text."""
        return text in self._exact or any(glob.matches(text) for glob in self._globs)

    def match_any(self, texts: Iterable[str]) -> bool:
        """Return whether any glob matches any of the texts."""
        return not self._exact.isdisjoint(texts) or (bool(self._globs) and any(map(self.match, texts)))
