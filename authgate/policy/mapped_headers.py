"""Additional identity headers from claims and expressions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from authgate.expressions import Failed, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.expressions import Expression
    from authgate.json_pointer import JSONPointer
    from authgate.model import Identity, JSONValue


def trusted(pointer: JSONPointer, claims: Mapping[str, JSONValue]) -> JSONValue:
    """Return the value at a pointer, or None for an email address that the issuer did not verify.

    As for identities, an address is used only if `email_verified` is absent or exactly true.
    """
    if pointer.member == "email" and claims.get("email_verified", True) is not True:
        return None
    return pointer.find(claims)


class MappedHeader(Protocol):
    """A header whose values come from verified claims or the identity."""

    @property
    def name(self) -> str:
        """The name of the header."""
        ...

    def values(self, identity: Identity, claims: Mapping[str, JSONValue]) -> list[str] | Failed:
        """Return the values in order, or an empty list. They are joined like groups."""
        ...


class ClaimHeader:
    """A header with the value of a claim: a string, number, boolean, or a list of them."""

    __slots__ = ("_pointer", "name")

    def __init__(self, name: str, pointer: JSONPointer) -> None:
        self.name = name
        self._pointer = pointer

    def values(self, identity: Identity, claims: Mapping[str, JSONValue]) -> list[str] | Failed:
        """Return the claim's values; an empty list if it is missing, null or an unverified email address."""
        return _texts(trusted(self._pointer, claims), f"claim {self._pointer.text}")


class ExpressionHeader:
    """A header with the value of an expression; `place` is its path in the configuration."""

    __slots__ = ("_expression", "_place", "name")

    def __init__(self, name: str, expression: Expression, place: str) -> None:
        self.name = name
        self._expression = expression
        self._place = place

    def values(self, identity: Identity, claims: Mapping[str, JSONValue]) -> list[str] | Failed:
        """Return the values of the expression, or why it failed."""
        value = self._expression.evaluate(Variables(claims=claims, user=identity))
        if isinstance(value, Failed):
            return Failed(f"{self._place}: {value.detail}")
        return _texts(value, self._place)


def _texts(value: JSONValue, place: str) -> list[str] | Failed:
    match value:
        case None:
            return []
        case list():
            texts = [_text(item) for item in value]
        case _:
            texts = [_text(value)]
    known = [text for text in texts if text is not None]
    return known if len(known) == len(texts) else Failed(f"{place} is or contains an object, a list or null")


def _text(value: JSONValue) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        case _:
            return None
