"""Search a tree of plain values, which may have any structure."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

from authgate.config.problems import Path

Pattern = str | int | EllipsisType
"""One step of a search: a field, an index, or `...` for every entry of a list or mapping."""


class Values:
    """The values of a file that is not validated; what does not have the expected structure is not found."""

    def __init__(self, tree: object) -> None:
        self._tree = tree

    def find(self, *pattern: Pattern) -> Iterator[tuple[Path, object]]:
        """Yield every value at a place of the pattern, null among them, with its path."""
        yield from _find(self._tree, (), pattern)

    def texts(self, *pattern: Pattern) -> Iterator[tuple[Path, str]]:
        """Yield every text at a place of the pattern, with its path."""
        yield from ((path, value) for path, value in self.find(*pattern) if isinstance(value, str))


def _find(value: object, path: Path, pattern: tuple[Pattern, ...]) -> Iterator[tuple[Path, object]]:
    if not pattern:
        yield path, value
        return
    step, *rest = pattern
    for name, below in _entries(value):
        if isinstance(step, EllipsisType) or step == name:
            yield from _find(below, (*path, name), tuple(rest))


def _entries(value: object) -> Iterator[tuple[str | int, object]]:
    match value:
        case dict():
            yield from ((name, below) for name, below in value.items() if isinstance(name, str))
        case list() | tuple():
            yield from enumerate(value)
        case _:
            return
