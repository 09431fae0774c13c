"""Limit the memory of unfinished request heads over all connections of a process.

aiohttp's parser keeps each field line twice until a head is complete: as bytes and as text. Text takes one byte per
character if the line is ASCII, else up to four. The factors here were measured (docs/limits.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_END: Final = b"\r\n\r\n"
_ASCII: Final = 2
_WIDE: Final = 5
_LINE: Final = 256
"""Bytes that the parser's objects for a field line take besides its text."""


class Holder(Protocol):
    """A connection with an unfinished head."""

    def end_head(self) -> None:
        """End the connection and free the bytes of its head."""
        ...


class _Head:
    __slots__ = ("cost", "lines", "size", "wide")

    def __init__(self) -> None:
        self.size = self.lines = self.cost = 0
        self.wide = False

    def add(self, data: bytes) -> int:
        """Count a piece of the head and return how many bytes its cost grew."""
        self.size += len(data)
        self.lines += data.count(b"\n")
        self.wide = self.wide or not data.isascii()
        before = self.cost
        self.cost = self.size * (_WIDE if self.wide else _ASCII) + self.lines * _LINE
        return self.cost - before


class HeadBudget:
    """End connections, the oldest head first, while all unfinished heads take more than `max_bytes` of memory."""

    def __init__(self, max_bytes: int, on_end: Callable[[], None] = lambda: None) -> None:
        self._max_bytes = max_bytes
        self._on_end = on_end
        self._heads: dict[Holder, _Head] = {}  # the oldest first
        self.held = 0
        """Estimated bytes of memory that unfinished heads take now."""

    def charge(self, holder: Holder, data: bytes) -> None:
        """Count a piece of a head and make room for it."""
        head = self._heads.get(holder)
        if head is None:
            head = self._heads[holder] = _Head()
        self.held += head.add(data)
        self._make_room()

    def reserve(self, holder: Holder, size: int) -> None:
        """Count a head by its maximum size, if its pieces cannot be seen, and make room for it."""
        head = self._heads[holder] = _Head()
        head.cost = size
        self.held += size
        self._make_room()

    def _make_room(self) -> None:
        while self.held > self._max_bytes:
            oldest = next(iter(self._heads))
            self.release(oldest)
            self._on_end()
            oldest.end_head()

    def release(self, holder: Holder) -> None:
        """Stop counting a head that is complete or was abandoned."""
        head = self._heads.pop(holder, None)
        if head is not None:
            self.held -= head.cost


def worst_case(max_bytes: int, max_lines: int) -> int:
    """Return the bytes of memory that one unfinished head can take."""
    return max_bytes * _WIDE + max_lines * _LINE


def after_last_head(data: bytes, *, body: int | None = None) -> bytes:
    """Return the bytes behind the last complete request in `data`: the start of another head, or nothing.

    `body` is the length of that request's body if it has a Content-Length. A chunked body ends like a head.
    """
    at = data.rfind(HEAD_END) if body is None else data.find(HEAD_END)
    if at < 0:  # the end of the head is split between two pieces
        at = -1
    return data[at + len(HEAD_END) + (body or 0) :]
