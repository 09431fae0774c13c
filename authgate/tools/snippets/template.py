"""The template language of the snippets: lines of statements begin with `%%`, and `<<name>>` is replaced by a value.

The proxies' own languages use `$`, `{}` and `%`, so templates need other marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Value = str | bool | Sequence[Mapping[str, str]]

_WORD = re.compile(r"(?P<indent>[ #]*)%% (?P<word>if|for|include|else|end)(?: (?P<rest>.*))?")
_PLACE = re.compile(r"<<([a-z_]+(?:\.[a-z_]+)?)>>")


def render(text: str, values: Mapping[str, Value], include: Callable[[str], str]) -> str:
    """Fill in a template; `include` returns the text of another template.

    `%% if NAME`, `%% if not NAME`, `%% for ITEM in NAME`, `%% else` and `%% end` choose and repeat lines;
    `%% include FILE` inserts the lines of another template, with the statement's indentation and comment marks.
    A name without a value is a KeyError, so that a snippet never has a gap.
    """
    return "\n".join(_Renderer(include).lines(text.splitlines(), values)) + "\n"


class _Renderer:
    def __init__(self, include: Callable[[str], str]) -> None:
        self._include = include

    def lines(self, source: Sequence[str], values: Mapping[str, Value]) -> Iterator[str]:
        at = 0
        while at < len(source):
            word = _WORD.fullmatch(source[at])
            if word is None:
                yield _filled(source[at], values)
                at += 1
                continue
            rest = word["rest"] or ""
            if word["word"] == "include":
                for line in self.lines(self._include(rest).splitlines(), values):
                    yield word["indent"] + line if line else line
                at += 1
                continue
            middle, end = _ends(source, at)
            yield from self._chosen(
                word["word"], rest, source[at + 1 : middle], source[middle + 1 : end], values
            )
            at = end + 1

    def _chosen(
        self, word: str, rest: str, body: Sequence[str], other: Sequence[str], values: Mapping[str, Value]
    ) -> Iterator[str]:
        if word == "if":
            wanted = not rest.startswith("not ")
            name = rest.removeprefix("not ")
            yield from self.lines(body if bool(values[name]) is wanted else other, values)
            return
        item, _, name = rest.partition(" in ")
        repeated = values[name]
        if isinstance(repeated, (str, bool)):
            raise TypeError(f"{name} is not a list")
        for each in repeated:
            inner = {f"{item}.{key}": value for key, value in each.items()}
            yield from self.lines(body, {**values, **inner})


def _ends(source: Sequence[str], start: int) -> tuple[int, int]:
    """Return the lines of the `else` (or the end) and of the end of the block that begins at `start`."""
    depth, middle = 0, 0
    for at in range(start, len(source)):
        word = _WORD.fullmatch(source[at])
        if word is None or word["word"] == "include":
            continue
        if word["word"] in {"if", "for"}:
            depth += 1
        elif word["word"] == "else" and depth == 1:
            middle = at
        elif word["word"] == "end":
            depth -= 1
            if depth == 0:
                return middle or at, at
    raise ValueError(f"line {start + 1} has no end: {source[start]}")


def _filled(line: str, values: Mapping[str, Value]) -> str:
    return _PLACE.sub(lambda place: str(values[place[1]]), line)
