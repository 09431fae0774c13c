"""YAML without its surprises: one document of mappings, lists, texts and numbers, bounded, each with its line.

Refused beside bad syntax: a key that stands twice or is no text, anchors and aliases, tags, several documents.
Numbers are decimal and dates are texts, as in YAML 1.2; the words that YAML 1.1 reads as truth values (`yes`, `off`)
stay truth values, so that a text field refuses them until they are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from authgate.config.problems import Path, Problem, dotted, shown

_MAX_DEPTH = 32
_MAX_NODES = 50_000
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = re.compile(r"true|false|yes|no|on|off", re.IGNORECASE)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|[0-9]{1,30}(?=[eE])|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,5})?", re.ASCII
)
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|nan)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text holds (mappings are dicts, lists tuples), the line of each path, and the keys at fault."""

    value: object
    lines: dict[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse_yaml(text: str) -> Document | Problem:
    """Parse a YAML text, or tell the one thing that makes it unreadable; the problem's path is left empty.

    The caller bounds the size of the text.
    """
    try:
        loader = _BoundedLoader(text)
        node = loader.get_single_node()
    except _RefusedError as error:
        return Problem("", error.sentence, line=error.line)
    except yaml.reader.ReaderError:
        return Problem("", "holds a control character or a lone surrogate, which YAML forbids")
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        reasons = ", ".join(reason for reason in (error.context, error.problem) if reason)
        if isinstance(error, yaml.scanner.ScannerError) and "alias" in reasons:
            reasons += "; quote a text that begins with *"
        return Problem("", f"is not valid YAML: {reasons[:300]}", line=line)
    except (ValueError, OverflowError):  # PyYAML hands the number of an escape to chr() as it stands
        return Problem("", "holds an escape (\\U…) that is no character")
    lines: dict[Path, int] = {}
    problems: list[Problem] = []
    value = None if node is None else _value(node, (), lines, problems)
    return Document(value, lines, tuple(problems))


def plain_scalar(text: str) -> object:
    """Return what a word means that stands without quotes: null, a truth value, a number, or itself."""
    if text in _NULL:
        return None
    if _BOOL.fullmatch(text):
        return text.lower() in ("true", "yes", "on")
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _NOT_FINITE.fullmatch(text):
        return float(match[1] + match[2])
    return text


class _RefusedError(Exception):
    """The text is YAML, but uses what is not read here."""

    def __init__(self, sentence: str, line: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes and refuses, before it follows them, what could repeat, grow or run code."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs leave its type out
        self._nodes += 1
        self._depth += 1
        refusal = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            refusal = "YAML's anchors and aliases (&, *) are refused; write the value out, or quote the text"
        elif getattr(event, "tag", None) is not None:
            refusal = "YAML's tags (!) are refused; leave it out, or quote the text"
        elif self._depth > _MAX_DEPTH:
            refusal = f"is nested deeper than {_MAX_DEPTH} levels"
        elif self._nodes > _MAX_NODES:
            refusal = f"has more than {_MAX_NODES} values"
        if refusal is not None:
            raise _RefusedError(refusal, event.start_mark.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem]) -> object:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        members = _members(node, path, lines, problems)
        return {name: _value(value, (*path, name), lines, problems) for name, value in members}
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, (*path, index), lines, problems) for index, item in enumerate(node.value))
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    unquoted = isinstance(node, yaml.ScalarNode) and node.style is None
    return plain_scalar(node.value) if unquoted else node.value


def _members(
    node: yaml.MappingNode, path: Path, lines: dict[Path, int], problems: list[Problem]
) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = (
            plain_scalar(key.value) if isinstance(key, yaml.ScalarNode) and key.style is None else key.value
        )
        if not isinstance(name, str):
            seen = shown(key.value) if isinstance(key, yaml.ScalarNode) else ""
            problems.append(Problem(dotted(path), "a key must be a text: put it in quotes", seen, line=line))
            continue
        if (*path, name) in lines:
            first = lines[*path, name]
            problems.append(
                Problem(dotted((*path, name)), f"stands twice; the first is on line {first}", line=line)
            )
            continue
        lines[*path, name] = line
        yield name, value
