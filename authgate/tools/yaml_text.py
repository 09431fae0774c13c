"""Documents as YAML text that every YAML reader understands alike."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from authgate.config.problems import Path

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+@-]*(:[A-Za-z0-9_./+@-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def yaml_text(document: Mapping[str, object], comments: Mapping[Path, str] | None = None) -> str:
    """Return a document as ASCII YAML in its own order; every text that is not a plain word is quoted.

    `comments` are appended to the lines of the values at their paths.
    """
    # Nothing is folded, so that each value but a block text is on one line.
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=math.inf)
    if not comments:
        return text
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for path, node in _leaves((), root) if root is not None else ():
        if path in comments:
            lines[node.start_mark.line] += f"  # {comments[path]}"
    return "\n".join(lines) + "\n"


def nested(values: Iterable[tuple[Path, object]]) -> dict[str, object]:
    """Return the document that has these values at these paths; the entries of each list must be in order."""
    document: dict[str, object] = {}
    for path, value in values:
        below: Any = document
        for step, following in pairwise(path):
            empty: Any = [] if isinstance(following, int) else {}
            if isinstance(below, dict):
                below = below.setdefault(step, empty)
            else:
                below.extend([empty] if step == len(below) else [])
                below = below[step]
        below[path[-1]] = value
    return document


def _leaves(path: Path, node: yaml.Node) -> Iterator[tuple[Path, yaml.Node]]:
    if isinstance(node, yaml.MappingNode) and node.value:
        for key, value in node.value:
            yield from _leaves((*path, key.value), value)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for index, value in enumerate(node.value):
            yield from _leaves((*path, index), value)
    else:
        yield path, node


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, texts of several lines as blocks, and lists of texts on one line."""

    def ignore_aliases(self, data: object) -> bool:
        """Report that a value which occurs twice is written twice."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style: str | None = "'" if '"' in text and text.isprintable() else '"'
    if text.endswith("\n") and text.isascii():
        style = "|"
    elif _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _represent_list(dumper: _Dumper, items: tuple[object, ...] | list[object]) -> yaml.Node:
    inline = not any(isinstance(item, dict | list | tuple) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=inline)


def _represent_mapping(dumper: _Dumper, members: dict[str, object]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", members, flow_style=not members)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
_Dumper.add_representer(dict, _represent_mapping)
