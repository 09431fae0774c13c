"""A configuration's values as YAML text, each with its source as a comment."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from authgate.cli.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STEP: Final = re.compile(r'\[(?P<index>\d+)\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]|\.?(?P<name>[^.\[\]]+)')
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def yaml_lines(values: Iterable[tuple[str, object, str]]) -> Iterator[str]:
    """Yield the lines of a YAML document that holds values by their paths (`jwt[0].issuer.url`), in their order."""
    open_steps: list[str | int] = []
    for path, value, source in values:
        steps = _steps(path)
        shared = _shared(open_steps, steps)
        yield from _headings(steps, shared)
        name, marker = _line_start(steps, len(steps) - 1, shared)
        yield f"{marker}{name} {visible(json.dumps(value, ensure_ascii=False))}  # {visible(source)}"
        open_steps = steps


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for match in _STEP.finditer(path):
        if match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] if match["quoted"] is None else json.loads(match["quoted"]))
    return steps


def _shared(one: list[str | int], other: list[str | int]) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def _headings(steps: list[str | int], shared: int) -> Iterator[str]:
    for depth in range(shared, len(steps) - 1):
        if isinstance(steps[depth], str):
            name, marker = _line_start(steps, depth, shared)
            yield marker + name


def _line_start(steps: list[str | int], depth: int, shared: int) -> tuple[str, str]:
    """Return the key at a depth, and the indentation before it: with a dash where it opens an entry of a list."""
    indent = 2 * sum(isinstance(step, str) for step in steps[:depth])
    opens = depth > 0 and isinstance(steps[depth - 1], int) and depth - 1 >= shared
    key = str(steps[depth])
    shown = key if _PLAIN.fullmatch(key) and key.lower() not in _WORDS else json.dumps(key)
    return f"{shown}:", " " * (indent - 2) + "- " if opens else " " * indent
