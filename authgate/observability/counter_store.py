"""Numbers by name, counted in place: in the process's own memory, or in shared memory that outlives a process.

A store has one writer. Shared memory is exact for a reader at any time, also after the writer was killed. A process
that replaces the writer continues with the same numbers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

Labels = tuple[str, ...]
Name = tuple[str, Labels]
"""A family and the values of its labels."""

_WORD = 8  # bytes of a double
_CELLS: Final = 1 << 17
_NAMES_AT: Final = _CELLS * _WORD
_NAMES_END = 0  # the cell with the number of bytes of names
_SPARE: Final = 1  # numbers without a place go here and are not exposed; a histogram fits before _FIRST
_FIRST: Final = 64
SHARED_BYTES: Final = _NAMES_AT + (1 << 22)
"""The size of shared memory: 131,072 numbers and 4 MiB of names. Only the used part takes memory."""


class Cells(Protocol):
    """Numbers by their index."""

    def __getitem__(self, at: int, /) -> float: ...

    def __setitem__(self, at: int, number: float, /) -> None: ...


class CounterStore:
    """Numbers in the process's own memory."""

    cells: Cells

    def __init__(self) -> None:
        self._own = [0.0] * _FIRST
        self.cells = self._own
        self._places: dict[Name, tuple[int, int]] = {}

    def place(self, family: str, labels: Labels, width: int = 1) -> int:
        """Return the first of a name's `width` cells. They start at 0, and the place never changes."""
        found = self._places.get((family, labels))
        if found is None:
            found = self._places[family, labels] = (self._allot(family, labels, width), width)
        return found[0]

    def numbers(self, family: str | None = None) -> Iterator[tuple[Name, list[float]]]:
        """Yield every name, or those of one family, and its current numbers."""
        for name, (at, width) in tuple(self._places.items()):
            if at != _SPARE and (family is None or name[0] == family):
                yield name, [self.cells[cell] for cell in range(at, at + width)]

    def _allot(self, family: str, labels: Labels, width: int) -> int:
        self._own += [0.0] * width
        return len(self._own) - width


class SharedCounterStore(CounterStore):
    """Numbers in shared memory of `SHARED_BYTES`, which is zero at first.

    Once the memory is full, new names are not counted. There is room for all names of one configuration.
    """

    def __init__(self, memory: mmap) -> None:
        super().__init__()
        self._memory = memory
        self.cells = memoryview(memory)[:_NAMES_AT].cast("d")
        self._read_names_to = 0
        self._next = _FIRST
        self._read_names()

    def numbers(self, family: str | None = None) -> Iterator[tuple[Name, list[float]]]:
        """Yield names and their current numbers, including names that another process added."""
        self._read_names()
        return super().numbers(family)

    def _allot(self, family: str, labels: Labels, width: int) -> int:
        line = json.dumps([family, labels, self._next, width]).encode() + b"\n"
        begin = _NAMES_AT + self._read_names_to
        if self._next + width > _CELLS or begin + len(line) > len(self._memory):
            return _SPARE
        at = self._next
        self._memory[begin : begin + len(line)] = line
        self._next += width
        self._read_names_to += len(line)
        self.cells[_NAMES_END] = self._read_names_to  # last, so that a reader never sees half a name
        return at

    def _read_names(self) -> None:
        end = int(self.cells[_NAMES_END])
        for line in self._memory[_NAMES_AT + self._read_names_to : _NAMES_AT + end].splitlines():
            family, labels, at, width = json.loads(line)
            self._places[family, tuple(labels)] = (at, width)
            self._next = at + width
        self._read_names_to = end
