"""JSON pointers (RFC 6901): one value inside a JSON document, named by the way to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.model import JSONValue

MAX_STEPS: Final = 16
_STEP = re.compile(r"(?:[^~/\x00-\x1f]|~[01])*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")


class JSONPointer:
    """A way into a JSON document, such as `/realm_access/roles/0`; raises ValueError for a text that is none."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        steps = text.split("/")
        if steps[0] or len(steps) < 2:
            raise ValueError('must be a JSON pointer: it begins with a slash, such as "/realm_access/roles"')
        if len(steps) - 1 > MAX_STEPS:
            raise ValueError(f"must not have more than {MAX_STEPS} steps")
        if not all(_STEP.fullmatch(step) for step in steps):
            raise ValueError('must be a JSON pointer: a "~" in a name is written ~0, a "/" ~1')
        self.text = text
        self._steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in steps[1:])

    def find(self, document: Mapping[str, JSONValue]) -> JSONValue:
        """Return the value that it leads to; None where it leads nowhere, as where null stands."""
        value: JSONValue = dict(document)
        for step in self._steps:
            match value:
                case dict():
                    value = value.get(step)
                case list() if _INDEX.fullmatch(step) and int(step) < len(value):
                    value = value[int(step)]
                case _:
                    return None
        return value
