"""The input and output of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from authgate.config import Problem
from authgate.config.problems import dotted
from authgate.config.reading.yaml_file import Document, parse_yaml
from authgate.tools.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from authgate.config.problems import Path


@dataclass(frozen=True, slots=True)
class Original:
    """The document to convert (mappings are dicts, lists are tuples), and the line of each path."""

    fields: Mapping[str, object]
    lines: Mapping[Path, int]
    label: str = ""
    """The name of the document, if the file has several."""

    def note(self, path: Path, message: str) -> Problem:
        """Return a note about a path."""
        place = " ".join(filter(None, (self.label, dotted(path)))) or "the file"
        ends = (path[:end] for end in range(len(path), -1, -1))
        line = next((self.lines[end] for end in ends if end in self.lines), None)
        return Problem(place, message, line=line)


@dataclass(frozen=True, slots=True)
class Converted:
    """The document in the other format, and notes about what was omitted or needs a check."""

    document: dict[str, object]
    notes: tuple[Problem, ...]


class ConversionError(Exception):
    """The input does not have the expected format; `problems` describe why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def read_original(text: str) -> Original:
    """Parse YAML (or JSON) that is a mapping; raises `ConversionError`."""
    document = _parsed(text)
    if not isinstance(document.value, dict):
        raise ConversionError([Problem("the file", "must be a mapping of fields")])
    return Original(document.value, document.lines)


def read_originals(text: str) -> Iterator[tuple[object, dict[Path, int]]]:
    """Yield the values of the YAML documents of a text, each with its lines; raises `ConversionError`."""
    document = _parsed(text, several=True)
    lines: dict[object, dict[Path, int]] = {}
    for path, line in document.lines.items():
        lines.setdefault(path[0], {})[path[1:]] = line
    for index, value in enumerate(document.value if isinstance(document.value, tuple) else ()):
        yield value, lines[index]


def converted_text(converted: Converted, origin: str) -> str:
    """Return the resulting configuration as YAML, which begins with the notes as comments."""
    lines = [f"# Converted from {origin}."]
    if converted.notes:
        lines.append("# What has no counterpart, and what to check:")
    for note in converted.notes:
        line = "" if note.line is None else f"line {note.line}: "
        text = f"{line}{note.path}: {note.sentence}".encode("ascii", "backslashreplace").decode("ascii")
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        lines += wrap(text, 110, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False)
    return "\n".join(lines) + "\n" + yaml_text(converted.document)


def _parsed(text: str, *, several: bool = False) -> Document:
    document = parse_yaml(text, several=several)
    if isinstance(document, Problem):
        raise ConversionError([Problem("the file", document.message, document.value, line=document.line)])
    if document.problems:
        raise ConversionError(document.problems)
    return document
