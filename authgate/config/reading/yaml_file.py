"""Parse a strict subset of YAML: one bounded document of mappings, lists, texts and numbers, with line numbers.

Not accepted: keys that are given twice or are not texts, tags, several documents, and aliases that contain themselves
or grow beyond the bounds. Anchors, aliases and merge keys (`<<`) are replaced by their values. Numbers are decimal and
dates are texts, as in YAML 1.2. The words that YAML 1.1 reads as booleans (`yes`, `off`) are booleans here, too, so
that a text field refuses them until they are quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from authgate.config.problems import Path, Problem, dotted, shown

_MAX_DEPTH = 32
_MAX_NODES = 200_000
_MAX_CHARACTERS = 4_194_304
_INVALID = "is not valid YAML"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = re.compile(r"true|false|yes|no|on|off", re.IGNORECASE)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}|[0-9]{1,30}(?=[eE])|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,5})?", re.ASCII
)
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|nan)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML text: its value (mappings are dicts, lists are tuples), the line of each path, and wrong keys."""

    value: object
    lines: dict[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def parse_yaml(text: str, *, several: bool = False) -> Document | Problem:
    """Parse a YAML text, or return the one problem that makes it unreadable, with an empty path.

    With `several`, the value is a tuple of the text's documents, which share the bounds; their indexes begin the paths.
    The caller bounds the size of the text; the size that it has with its aliases replaced is bounded here.
    """
    reader = _Reader()
    try:
        loader = _BoundedLoader(text)
        if several:
            nodes = list(iter(loader.next_node, None))
            value: object = tuple(reader.value(node, (index,)) for index, node in enumerate(nodes))
        else:
            node = loader.get_single_node()
            value = None if node is None else reader.value(node, ())
    except _RefusedError as error:
        return Problem("", error.sentence, line=error.line, rule=error.rule)
    except yaml.reader.ReaderError:
        sentence = "contains a control character or a lone surrogate, which YAML forbids"
        return Problem("", sentence, rule=sentence)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        reasons = ", ".join(reason for reason in (error.context, error.problem) if reason)
        if isinstance(error, yaml.scanner.ScannerError) and "alias" in reasons:
            reasons += "; quote a text that begins with *"
        return Problem("", f"{_INVALID}: {reasons[:300]}", line=line, rule=_INVALID)
    except (ValueError, OverflowError):  # PyYAML passes the number of an escape to chr() unchecked
        sentence = "contains an escape (\\U…) that is not a character"
        return Problem("", sentence, rule=sentence)
    return Document(value, reader.lines, tuple(reader.problems))


def plain_scalar(text: str) -> object:
    """Return the value of an unquoted word: null, a boolean, a number, or the word itself."""
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
    """The text is YAML, but has something that is not supported; `rule` quotes nothing of it."""

    def __init__(self, sentence: str, mark: Any, rule: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line: int = mark.line + 1
        self.rule = rule or sentence


class _Alias(yaml.Node):
    """A `*name`, which repeats the node that `&name` marks."""

    id = "alias"


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes. Nodes that could grow or run code are rejected before they are followed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def next_node(self) -> yaml.Node | None:
        """Return the root node of the next document, or None at the end of the text."""
        return self.get_node() if self.check_node() else None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs leave its type out
        self._nodes += 1
        self._depth += 1
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(
                "YAML tags (!) are not supported; remove the tag, or quote the text", event.start_mark
            )
        _check_bounds(event.start_mark, self._depth, self._nodes)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call] # as above
            node: yaml.Node | None = self._alias(event)
        else:
            node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _alias(self, event: Any) -> _Alias:
        target = self.anchors.get(event.anchor)
        if target is None:
            sentence = "is not valid YAML: there is no anchor (&) of this name before the alias (*)"
            raise _RefusedError(
                f"{sentence}: {shown(event.anchor)}; quote a text that begins with *",
                event.start_mark,
                sentence,
            )
        return _Alias("", target, event.start_mark, event.end_mark)


class _Reader:
    """Makes plain values of nodes, with aliases replaced by their values, and keeps the line of every path.

    The value of an alias has the line of the alias; the values inside it have the lines on which they are written.
    """

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._nodes = 0
        self._characters = 0

    def value(self, node: yaml.Node, path: Path) -> object:
        """Return the value of a node; raises `_RefusedError` for one that contains itself or is too large."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        target = self._enter(node, len(path) + 1)
        value: object
        if isinstance(target, yaml.MappingNode):
            members = self._members(target, path, {})
            value = {name: self.value(member, (*path, name)) for name, member in members.items()}
        elif isinstance(target, yaml.SequenceNode):
            value = tuple(self.value(item, (*path, index)) for index, item in enumerate(target.value))
        else:
            value = _scalar(target)
        self._open.discard(id(target))
        return value

    def _enter(self, node: yaml.Node, depth: int) -> yaml.Node:
        """Return a node, or the node that an alias repeats, and count it; the caller removes it from `_open`."""
        target: yaml.Node = node.value if isinstance(node, _Alias) else node
        if id(target) in self._open:
            raise _RefusedError("an alias (*) repeats the value that contains it", node.start_mark)
        self._nodes += 1
        _check_bounds(node.start_mark, depth, self._nodes)
        if isinstance(target, yaml.ScalarNode):
            self._characters += len(target.value)
            if self._characters > _MAX_CHARACTERS:
                sentence = f"has more than {_MAX_CHARACTERS} characters once its aliases (*) are replaced"
                raise _RefusedError(sentence, node.start_mark)
        self._open.add(id(target))
        return target

    def _members(
        self, node: yaml.MappingNode, path: Path, found: dict[str, yaml.Node]
    ) -> dict[str, yaml.Node]:
        """Add members of a mapping to `found` unless it has them: first its own, then those merged by `<<`."""
        own: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            plain = isinstance(key, yaml.ScalarNode) and key.style is None
            if plain and key.value == "<<":
                target = value.value if isinstance(value, _Alias) else value
                merged += target.value if isinstance(target, yaml.SequenceNode) else [value]
                continue
            line = key.start_mark.line + 1
            name = plain_scalar(key.value) if plain else key.value
            if not isinstance(name, str):
                seen = shown(key.value) if isinstance(key, yaml.ScalarNode) else ""
                self._fault(path, "a key must be a text: put it in quotes", line, seen)
            elif name in own:
                self._fault((*path, name), f"is given twice; the first one is on line {own[name]}", line)
            else:
                own[name] = line
                if name not in found:
                    found[name] = value
                    self.lines[*path, name] = line
        for other in merged:
            target = self._enter(other, len(path) + 1)
            if not isinstance(target, yaml.MappingNode):
                raise _RefusedError(
                    "a merge key (<<) needs a mapping, or a list of mappings", other.start_mark
                )
            self._members(target, path, found)
            self._open.discard(id(target))
        return found

    def _fault(self, path: Path, sentence: str, line: int, seen: str = "") -> None:
        rule = "configuration: has a key that is given twice or is not a text"
        self.problems.append(Problem(dotted(path), sentence, seen, line=line, rule=rule))


def _check_bounds(mark: Any, depth: int, nodes: int) -> None:
    if depth > _MAX_DEPTH:
        raise _RefusedError(f"is nested deeper than {_MAX_DEPTH} levels", mark)
    if nodes > _MAX_NODES:
        raise _RefusedError(f"has more than {_MAX_NODES} values", mark)


def _scalar(node: yaml.Node) -> object:
    unquoted = isinstance(node, yaml.ScalarNode) and node.style is None
    return plain_scalar(node.value) if unquoted else node.value
