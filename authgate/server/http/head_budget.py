"""Memory for the heads of requests that have not arrived completely: one bound for all connections of a process.

aiohttp's parser keeps each field line twice until a head is complete: as bytes and as text. Text takes one byte for a
character as long as the line is ASCII, else up to four. The factors here are those that were measured (docs/limits.md).
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
    """A connection on which a head is arriving."""

    def end_head(self) -> None:
        """End the connection and release what it holds of the head."""
        ...


class _Head:
    __slots__ = ("cost", "lines", "size", "wide")

    def __init__(self) -> None:
        self.size = self.lines = self.cost = 0
        self.wide = False

    def add(self, data: bytes) -> int:
        """Count a piece, and return by how much the cost grew."""
        self.size += len(data)
        self.lines += data.count(b"\n")
        self.wide = self.wide or not data.isascii()
        before = self.cost
        self.cost = self.size * (_WIDE if self.wide else _ASCII) + self.lines * _LINE
        return self.cost - before


class HeadBudget:
    """Ends the connection whose head began first, while all unfinished heads take more than `most` bytes of memory."""

    def __init__(self, most: int, on_end: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._on_end = on_end
        self._heads: dict[Holder, _Head] = {}  # in the order in which they began
        self.held = 0
        """Bytes of memory that unfinished heads take now, as estimated."""

    def charge(self, holder: Holder, data: bytes) -> None:
        """Count a piece of a head, and make room for it."""
        head = self._heads.get(holder)
        if head is None:
            head = self._heads[holder] = _Head()
        self.held += head.add(data)
        self._make_room()

    def reserve(self, holder: Holder, size: int) -> None:
        """Count what may arrive at most, where the pieces of it cannot be seen, and make room for it."""
        head = self._heads[holder] = _Head()
        head.cost = size
        self.held += size
        self._make_room()

    def _make_room(self) -> None:
        while self.held > self._most:
            oldest = next(iter(self._heads))
            self.release(oldest)
            self._on_end()
            oldest.end_head()

    def release(self, holder: Holder) -> None:
        """Count a holder's head no more: it is complete, or was given up."""
        head = self._heads.pop(holder, None)
        if head is not None:
            self.held -= head.cost


def worst_case(max_bytes: int, max_lines: int) -> int:
    """Return the bytes of memory that one unfinished head can take."""
    return max_bytes * _WIDE + max_lines * _LINE


def after_last_head(data: bytes, *, body: int | None = None) -> bytes:
    """Return what follows the last complete request in `data`: the beginning of another head, or nothing.

    `body` is the length of that request's body where Content-Length announced one; a chunked body ends as a head does.
    """
    at = data.rfind(HEAD_END) if body is None else data.find(HEAD_END)
    if at < 0:  # the end of the head is split over two pieces
        at = -1
    return data[at + len(HEAD_END) + (body or 0) :]
