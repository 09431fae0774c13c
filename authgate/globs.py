r"""Globs: texts in which `*` is any run of characters, also none, and `\*` is a star.

A backslash is special only before a star: `\\*` is a backslash and then any characters, `a\b` is itself. The match is
linear: a text is searched once for each literal part, from left to right, and nothing is tried twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STARS: Final = 8
"""How many stars a configured glob may have."""

MAX_GLOBS: Final = 64
"""How many globs a configured list may have beside its exact texts."""

_STAR = re.compile(r"(\\*)\*")


def parts_of(glob: str) -> tuple[str, ...]:
    """Return the literal texts between the stars of a glob; one alone where it has no star."""
    parts, text, place = [], "", 0
    for found in _STAR.finditer(glob):
        backslashes = len(found[1])
        text += glob[place : found.start()] + "\\" * (backslashes // 2)
        place = found.end()
        if backslashes % 2:
            text += "*"
        else:
            parts.append(text)
            text = ""
    return (*parts, text + glob[place:])


def escaped(text: str) -> str:
    """Return the glob that only this text fits."""
    return _STAR.sub(lambda found: f"{found[1] * 2}\\*", text)


class Glob:
    """One glob."""

    __slots__ = ("_between", "_exact", "_first", "_last", "_shortest")

    def __init__(self, glob: str) -> None:
        parts = parts_of(glob)
        self._exact = len(parts) == 1
        self._first, self._between, self._last = parts[0], tuple(filter(None, parts[1:-1])), parts[-1]
        self._shortest = sum(map(len, parts))

    def matches(self, text: str) -> bool:
        """Tell whether the whole text fits."""
        if self._exact:
            return text == self._first
        if len(text) < self._shortest or not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        place, end = len(self._first), len(text) - len(self._last)
        for part in self._between:
            place = text.find(part, place, end)
            if place < 0:
                return False
            place += len(part)
        return True


class Globs:
    """A list of globs; those without a star are looked up, whatever their number."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, globs: Iterable[str]) -> None:
        parsed = [(glob, parts_of(glob)) for glob in globs]
        self._exact = frozenset(parts[0] for _, parts in parsed if len(parts) == 1)
        self._globs = tuple(Glob(glob) for glob, parts in parsed if len(parts) > 1)

    def match(self, text: str) -> bool:
        """Tell whether the text fits one of them."""
        return text in self._exact or any(glob.matches(text) for glob in self._globs)

    def match_any(self, texts: Iterable[str]) -> bool:
        """Tell whether one of the texts fits one of them."""
        return not self._exact.isdisjoint(texts) or (bool(self._globs) and any(map(self.match, texts)))
