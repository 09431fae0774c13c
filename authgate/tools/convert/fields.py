"""The input of a conversion, which remembers what was read, so that everything else can be listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from authgate.tools.convert.values import ConversionError, Original

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from authgate.config import Problem
    from authgate.config.problems import Path

Scalar = str | int | float | bool

_EMPTY: tuple[object, ...] = (None, "", (), {}, False, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller adds to an input that does not have it."""

    policy: str
    """The name of the policy, if the input has one."""
    proxy: str | None = None
    """The proxy in front of the app, for `server.proxy`; None if it was not given."""
    audiences: tuple[str, ...] = ()
    """The audiences of tokens for which the input requires no audience."""


class Reading:
    """The documents of an input while they are converted, and the notes about them.

    Every mapping that is opened must be read completely: `finish` adds a note for each member that was not read.
    """

    def __init__(self, program: str) -> None:
        self.notes: list[Problem] = []
        self._unknown = f"is omitted: it is not a known field of {program}, or the result does not need it"
        self._opened: list[Fields] = []

    def open(self, original: Original) -> Fields:
        """Return the root of a document."""
        return self.opened(Fields(self, original, original.fields, ()))

    def opened(self, fields: Fields) -> Fields:
        """Return a mapping that must be read completely."""
        self._opened.append(fields)
        return fields

    def finish(self) -> tuple[Problem, ...]:
        """Return the notes in the order of the lines, with one for every member that was not read."""
        for fields in self._opened:
            for name in fields.unread():
                fields.note(name, self._unknown)
        return tuple(sorted(dict.fromkeys(self.notes), key=lambda note: note.line or 0))


@dataclass(slots=True, eq=False)
class Fields:
    """A mapping of the input. A member of the wrong type raises `ConversionError`, and null is a missing member."""

    reading: Reading
    original: Original
    values: Mapping[str, object]
    path: Path
    _read: dict[str, object] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def unread(self) -> list[str]:
        """Return the members that were not read."""
        return [name for name in self.values if name not in self._read]

    def note(self, name: str | int | None, message: str) -> None:
        """Add a note about a member, or about the mapping itself."""
        path = self.path if name is None else (*self.path, name)
        self.reading.notes.append(self.original.note(path, message))

    def wrong(self, name: str | None, message: str) -> ConversionError:
        """Return an error about a member, or about the mapping itself."""
        return ConversionError(
            [self.original.note(self.path if name is None else (*self.path, name), message)]
        )

    def scalar(self, name: str) -> Scalar | None:
        """Return a text, number or boolean."""
        value = self._take(name)
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise self.wrong(name, "must be a text, a number or a boolean")

    def text(self, name: str) -> str:
        """Return a text, or "" if it is missing."""
        value = self.scalar(name)
        if isinstance(value, bool):
            raise self.wrong(name, "must be a text; put it in quotes")
        return "" if value is None else str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.scalar(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.wrong(name, "must be true or false")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; one text is a list of one."""
        value = self._take(name)
        items = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
            raise self.wrong(name, "must be a list of texts")
        return tuple(map(str, items))

    def section(self, name: str) -> Fields | None:
        """Return a mapping, or None if it is missing."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "must be a mapping")
        return self._opened(name, value, (*self.path, name))

    def sections(self, name: str) -> tuple[Fields, ...]:
        """Return a list of mappings."""
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, tuple) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "must be a list of mappings")
        paths = ((*self.path, name, index) for index in range(len(value)))
        return tuple(
            self._opened(f"{name}/{index}", cast("dict[str, object]", item), path)
            for index, (item, path) in enumerate(zip(value, paths, strict=True))
        )

    def members(self) -> Iterator[tuple[str, Fields]]:
        """Yield the members of a mapping of mappings with their names, which can be any text."""
        for name in self.values:
            below = self.section(name)
            if below is not None:
                yield name, below

    def omit(self, name: str, why: str) -> None:
        """Add a note about a member without a counterpart, unless it is empty."""
        self._read[name] = None
        if self.values.get(name) not in _EMPTY:
            self.note(name, f"is omitted: {why}")

    def omit_all(self, reasons: Mapping[str, str]) -> None:
        """Add a note about each of these members that is not empty."""
        for name, why in reasons.items():
            if name in self.values:
                self.omit(name, why)

    def omit_rest(self, why: str, names: Iterable[str] | None = None) -> None:
        """Add one note that lists the members that were not read yet, or those of `names`."""
        rest = self.unread() if names is None else [name for name in self.unread() if name in names]
        if rest:
            self._read.update(dict.fromkeys(rest))
            verb = "is" if len(rest) == 1 else "are"
            self.note(None, f"{', '.join(rest)} {verb} omitted: {why}")

    def ignore(self, *names: str) -> None:
        """Mark members as read that only describe the document, such as its version."""
        self._read.update(dict.fromkeys(names))

    def _take(self, name: str) -> object:
        self._read.setdefault(name, None)
        return self.values.get(name)

    def _opened(self, key: str, value: dict[str, object], path: Path) -> Fields:
        known = self._read.get(key)
        if not isinstance(known, Fields):
            known = self._read[key] = self.reading.opened(Fields(self.reading, self.original, value, path))
        return known
