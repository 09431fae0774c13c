"""JSON pointers (RFC 6901): the path to one value inside a JSON document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.model import JSONValue

MAX_STEPS: Final = 16
_STEP = re.compile(r"(?:[^~/\x00-\x1f]|~[01])*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no value at the pointer. `why` names the missing member and what was found, never a claim's value.

    `why` is empty if the claim itself is missing. `blocked` means that a value without members, such as a string, is
    where an object should be.
    """

    why: str = ""
    blocked: bool = False


class JSONPointer:
    """A parsed JSON pointer, such as `/realm_access/roles/0`. Raises ValueError if the text is not a JSON pointer."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        steps = text.split("/")
        if steps[0] or len(steps) < 2:
            raise ValueError('must be a JSON pointer that starts with a slash, such as "/realm_access/roles"')
        if len(steps) - 1 > MAX_STEPS:
            raise ValueError(f"must not have more than {MAX_STEPS} steps")
        if not all(_STEP.fullmatch(step) for step in steps):
            raise ValueError('must be a JSON pointer: write ~0 for "~" and ~1 for "/" inside a name')
        self.text = text
        self._steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in steps[1:])

    @property
    def member(self) -> str:
        """The top-level member that the pointer starts with."""
        return self._steps[0]

    def find(self, document: Mapping[str, JSONValue]) -> JSONValue:
        """Return the value at the pointer; None if it is missing or null."""
        value = self.lookup(document)
        return None if isinstance(value, Missing) else value

    def lookup(self, document: Mapping[str, JSONValue]) -> JSONValue | Missing:
        """Return the value at the pointer, or why it is missing."""
        first, *rest = self._steps
        if first not in document:
            return Missing(_instead_of(first, document))
        value = document[first]
        for place, step in enumerate(rest, 1):
            match value:
                case dict() if step in value:
                    value = value[step]
                case list() if _INDEX.fullmatch(step) and int(step) < len(value):
                    value = value[int(step)]
                case _:
                    return self._missing(value, place)
        return value

    def _missing(self, value: JSONValue, place: int) -> Missing:
        holder, step = self._steps[0] if place == 1 else pointer_to(*self._steps[:place]), self._steps[place]
        if isinstance(value, dict):
            return Missing(f"'{holder}' has no member '{step}'")
        if isinstance(value, list):
            return Missing(f"'{holder}' is a list of {len(value)}, and has no member '{step}'")
        return Missing(f"'{holder}' is {kind_of(value)}, and has no member '{step}'", value is not None)


def pointer_to(*steps: str) -> str:
    """Return the pointer with these steps, escaped."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def claim_named(name: str) -> str:
    """Return what to write as `claim:` for a top-level claim; a name that starts with a slash needs a pointer."""
    return pointer_to(name) if name.startswith("/") else name


def claim_name(claim: str) -> str | None:
    """Return the name of the top-level claim that a configured `claim:` refers to, or None for a nested one."""
    if not claim.startswith("/"):
        return claim
    return None if "/" in claim[1:] else JSONPointer(claim).member


@lru_cache(maxsize=1024)
def claim_pointer(claim: str) -> JSONPointer:
    """Return the pointer for a configured `claim:`, which is a pointer if it starts with a slash, else a name."""
    return JSONPointer(claim if claim.startswith("/") else pointer_to(claim))


def kind_of(value: object) -> str:
    """Return the type of a JSON value with its article, such as "a string"."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _instead_of(name: str, document: Mapping[str, JSONValue]) -> str:
    """Explain a missing name with dots that was probably meant as a member of an object."""
    first, *rest = name.split(".")
    if not rest or not isinstance(document.get(first), dict):
        return ""
    return f"'{first}' is an object; for its member '{'.'.join(rest)}' write {pointer_to(first, *rest)}"
