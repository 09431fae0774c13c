"""The input and output of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.config import Problem
from authgate.config.problems import dotted
from authgate.config.reading.yaml_file import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config.problems import Path


@dataclass(frozen=True, slots=True)
class Original:
    """The document to convert (mappings are dicts, lists are tuples), and the line of each path."""

    fields: Mapping[str, object]
    lines: Mapping[Path, int]

    def note(self, path: Path, message: str) -> Problem:
        """Return a note about a path."""
        return Problem(dotted(path), message, line=self.lines.get(path))


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
    document = parse_yaml(text)
    if isinstance(document, Problem):
        raise ConversionError([Problem("the file", document.message, document.value, line=document.line)])
    if document.problems:
        raise ConversionError(document.problems)
    if not isinstance(document.value, dict):
        raise ConversionError([Problem("the file", "must be a mapping of fields")])
    return Original(document.value, document.lines)
