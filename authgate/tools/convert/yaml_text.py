"""A document as YAML text that every YAML reader reads alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+@-]*(:[A-Za-z0-9_./+@-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def yaml_text(document: Mapping[str, object]) -> str:
    """Return a document as YAML in ASCII: in its own order, and with quotes around every text that is no plain word."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100_000)


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, blocks for texts of several lines, and lists of texts in one line."""

    def ignore_aliases(self, data: object) -> bool:
        """Tell that a value which stands twice is written twice."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    style: str | None = "'" if '"' in text and text.isprintable() else '"'
    if text.endswith("\n") and text.isascii():
        style = "|"
    elif _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _represent_list(dumper: _Dumper, items: tuple[object, ...] | list[object]) -> yaml.Node:
    inline = all(isinstance(item, str) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=inline)


def _represent_mapping(dumper: _Dumper, members: dict[str, object]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", members, flow_style=not members)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
_Dumper.add_representer(dict, _represent_mapping)
