"""A tree of plain values, asked for what stands where; whatever does not stand there is simply not found."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

from authgate.config.problems import Path

Pattern = str | int | EllipsisType
"""One step of a search: a field, an index, or `...` for every entry of a list or mapping."""


class Values:
    """What a configuration says before it is known to be valid: so one mistake does not hide another."""

    def __init__(self, tree: object) -> None:
        self._tree = tree

    def find(self, *pattern: Pattern) -> Iterator[tuple[Path, object]]:
        """Yield every value at a place of the pattern, null among them, with its path."""
        yield from _find(self._tree, (), pattern)

    def one_or_each(self, *path: str | int) -> Iterator[Path]:
        """Yield the path of every entry where a list stands at it, and the path itself where anything else does."""
        for _, value in self.find(*path):
            if isinstance(value, list | tuple):
                yield from ((*path, index) for index in range(len(value)))
            elif value is not None:
                yield path

    def texts(self, *pattern: Pattern) -> Iterator[tuple[Path, str]]:
        """Yield every text at a place of the pattern, with its path."""
        yield from ((path, value) for path, value in self.find(*pattern) if isinstance(value, str))

    def text(self, *path: str | int) -> str | None:
        """Return the text at a path, or None."""
        return next((text for _, text in self.texts(*path)), None)

    def readable(self, *pattern: Pattern, kind: type = object) -> bool:
        """Return whether all that is written on the way to a pattern's places, and at them, has the right kind.

        Where it has not, what is missing there may only be written wrongly, and a check that compares it with something
        else would add a second error to the one that is reported already.
        """
        return _readable(self._tree, pattern, kind)

    def mentions(self, *path: str | int) -> bool:
        """Tell whether a path is written down, be it with null."""
        return any(True for _ in self.find(*path))

    def has(self, *path: str | int) -> bool:
        """Tell whether anything stands at a path, be it valid or not; null and an empty list are nothing."""
        return any(value not in (None, (), []) for _, value in self.find(*path))


def _find(value: object, path: Path, pattern: tuple[Pattern, ...]) -> Iterator[tuple[Path, object]]:
    if not pattern:
        yield path, value
        return
    step, *rest = pattern
    for name, below in _entries(value):
        if isinstance(step, EllipsisType) or step == name:
            yield from _find(below, (*path, name), tuple(rest))


def _readable(value: object, pattern: tuple[Pattern, ...], kind: type) -> bool:
    if value is None:
        return True
    if not pattern:
        return isinstance(value, kind)
    step, *rest = pattern
    wanted: tuple[type, ...] = (list, tuple, dict) if isinstance(step, EllipsisType) else (dict,)
    if isinstance(step, int):
        wanted = (list, tuple)
    if not isinstance(value, wanted):
        return False
    chosen = [below for name, below in _entries(value) if isinstance(step, EllipsisType) or step == name]
    return all(_readable(below, tuple(rest), kind) for below in chosen)


def _entries(value: object) -> Iterator[tuple[str | int, object]]:
    match value:
        case dict():
            yield from ((name, below) for name, below in value.items() if isinstance(name, str))
        case list() | tuple():
            yield from enumerate(value)
        case _:
            return
