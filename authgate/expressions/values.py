"""The variables, values and errors of expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any, Protocol

from authgate.timestamps import utc

if TYPE_CHECKING:
    from cel_expr_python import cel

    from authgate.model import Identity, JSONValue, OriginalRequest

MAX_LENGTH = 10_000
"""The longest expression, in characters. This and the size of a token bound the cost."""

_MAX_LINE = 90


class Sees(Flag):
    """Which variables an expression may use."""

    CLAIMS = auto()
    """`claims`: the token's payload, a map with values of any type."""
    USER = auto()
    """`user`: `username`, `uid`, `groups` and `extra` of the identity."""
    REQUEST = auto()
    """`request`: `method`, `host`, `path` and `segments` of the original request."""
    QUERY = auto()
    """`request.query`: the query of the original request, not decoded."""
    NOW = auto()
    """`now`: the time of the request."""


class Expects(Enum):
    """The type that an expression must have. One that cannot have it is rejected at load."""

    BOOL = "bool"
    STRING = "string"
    STRING_LIST = "string or list of strings"
    """The result is a list of strings: with one element for a string, empty for null."""
    ANY = "any"


Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
"""The value of an expression. A value that JSON does not have, such as bytes or a timestamp, is a failure."""


class ExpressionError(ValueError):
    """An expression is rejected at load; `offset` is the index of the character where the error is, if known."""

    def __init__(self, message: str, text: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.offset = offset

    @property
    def pointed(self) -> str:
        """The message, the line of the expression, and a caret under the error."""
        if self.offset is None:
            return self.message
        start = self.text.rfind("\n", 0, self.offset) + 1
        end = self.text.find("\n", self.offset)
        line = self.text[start : end if end >= 0 else None].replace("\t", " ")
        column = self.offset - start
        if len(line) > _MAX_LINE:
            cut = min(max(0, column - _MAX_LINE // 2), len(line) - _MAX_LINE)
            line, column = line[cut : cut + _MAX_LINE], column - cut
        return f"{self.message}\n  {line}\n  {' ' * column}^"


class MissingExtraError(Exception):
    """The configuration has expressions, and the packages that evaluate them are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "expressions need the extra 'cel': in a checkout of authgate, run: pip install '.[cel]' "
            "(the container image includes it; there are no packages for musl, such as Alpine Linux)"
        )


@dataclass(frozen=True, slots=True)
class Failed:
    """An evaluation failed, which denies. `detail` never contains the value of a claim."""

    detail: str


@dataclass(frozen=True, slots=True)
class Size:
    """The size of variables: the longest list or map, the longest string, and the length of all strings."""

    longest_list: int
    longest_text: int
    characters: int


class Variables:
    """The values of variables. They are prepared once and can be used by several expressions.

    An expression that uses a variable without a value fails.
    """

    __slots__ = (
        "_activations",
        "_claims",
        "_data",
        "_has_nul",
        "_now",
        "_request",
        "_segments",
        "_size",
        "_user",
    )

    def __init__(
        self,
        *,
        claims: Mapping[str, JSONValue] | None = None,
        user: Identity | None = None,
        request: OriginalRequest | None = None,
        segments: tuple[str, ...] | None = None,
        now: float | None = None,
    ) -> None:
        """Set the known values: `segments` are the parts of the request's path, `now` is in POSIX seconds."""
        self._claims = claims
        self._user = user
        self._request = request
        self._segments = segments
        self._now = now
        self._data: dict[str, object] | None = None
        self._has_nul: bool | None = None
        self._activations: dict[int, cel.Activation] = {}
        self._size: Size | None = None

    def activation(self, environment: cel.Env) -> cel.Activation:
        """Return the variables for the expressions of an environment."""
        found = self._activations.get(id(environment))
        if found is None:
            found = self._activations[id(environment)] = environment.Activation(self._prepared())
        return found

    def size(self) -> Size:
        """Return the size of the variables."""
        if self._size is None:
            self._size = _size(self._prepared())
        return self._size

    def has_nul(self, reads: Sees) -> bool:
        """Return whether a string in the variables that are read has a NUL character.

        The CEL library would truncate the string there.
        """
        if Sees.REQUEST in reads and self._request is not None and _holds_nul(self._request.query):
            return True
        if Sees.CLAIMS not in reads:
            return False
        if self._has_nul is None:
            self._has_nul = _holds_nul(self._claims)
        return self._has_nul

    def _prepared(self) -> dict[str, object]:
        if self._data is not None:
            return self._data
        data = self._data = dict[str, object]()
        if self._claims is not None:
            data["claims"] = _with_doubles(dict(self._claims))
        if (user := self._user) is not None:
            data["user.username"] = user.username
            data["user.uid"] = user.uid
            data["user.groups"] = list(user.groups)
            data["user.extra"] = {key: list(values) for key, values in user.extra}
        if (request := self._request) is not None:
            known = {name: getattr(request, name) for name in ("method", "host", "path", "query")}
            data |= {f"request.{name}": value for name, value in known.items() if value is not None}
        if self._segments is not None:
            data["request.segments"] = list(self._segments)
        if self._now is not None:
            data["now"] = utc(self._now)
        return data


def _with_doubles(value: Any) -> Any:
    """Copy a JSON value with all numbers as doubles, as the kube-apiserver parses them."""
    kind = type(value)
    if kind is int:  # not bool
        return float(value)
    if kind is list:
        return [_with_doubles(item) for item in value]
    if kind is dict:
        return {key: _with_doubles(item) for key, item in value.items()}
    return value


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case list():
            return any(map(_holds_nul, value))
        case Mapping():
            return any("\0" in name or _holds_nul(member) for name, member in value.items())
        case _:
            return False


def _size(variables: dict[str, object]) -> Size:
    longest_list = longest_text = characters = 0
    waiting: list[object] = list(variables.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            characters += len(value)
            longest_text = max(longest_text, len(value))
        elif isinstance(value, list | dict):
            longest_list = max(longest_list, len(value))
            waiting += value
            waiting += value.values() if isinstance(value, dict) else ()
    return Size(longest_list, longest_text, characters)


class Expression(Protocol):
    """An expression that was checked at load."""

    @property
    def text(self) -> str:
        """The text of the expression."""
        ...

    @property
    def claims(self) -> frozenset[str]:
        """The claims that it selects by name, such as `claims.email`; claims selected by an index are not included."""
        ...

    @property
    def reads(self) -> Sees:
        """The variables that it uses; `request.query` counts as `REQUEST`."""
        ...

    def evaluate(self, variables: Variables) -> Value | Failed:
        """Return the value, or why the evaluation failed. Never raises."""
        ...

    def holds(self, variables: Variables) -> bool | Failed:
        """Return whether a BOOL expression is true. `Failed` must deny."""
        ...
