"""Evaluate a checked expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from authgate.expressions.values import Expects, Failed, Value

if TYPE_CHECKING:
    from cel_expr_python import cel

    from authgate.expressions.cost import Cost
    from authgate.expressions.values import Sees, Variables


class Program:
    """A compiled expression. It converts all errors of the CEL library into `Failed`."""

    __slots__ = ("_cost", "_environment", "_expects", "_is_costly", "_runnable", "claims", "reads", "text")

    def __init__(
        self,
        text: str,
        claims: frozenset[str],
        reads: Sees,
        runnable: cel.Expression,
        environment: cel.Env,
        *,
        expects: Expects,
        cost: Cost,
    ) -> None:
        self.text = text
        self.claims = claims
        self.reads = reads
        self._runnable = runnable
        self._environment = environment
        self._expects = expects
        self._cost = cost
        self._is_costly = cost.depth > 1 or cost.grows

    def evaluate(self, variables: Variables) -> Value | Failed:
        """Return the value, or why the evaluation failed."""
        try:
            if self._is_costly and not self._cost.is_within_bounds(variables.size()):
                return Failed("the claims are too large for an expression with nested loops")
            if variables.has_nul(self.reads):
                return Failed("a string that it could read has a NUL character")
            result = self._runnable.eval(variables.activation(self._environment))
            if result.type().name() == "ERROR":
                return Failed(_reason(str(result.value())))
            value = result.plain_value()
        except (RuntimeError, TypeError, ValueError, SystemError, OverflowError, MemoryError) as error:
            # The library raises some errors instead of returning a value of the type ERROR.
            return Failed(_reason(str(error)))
        return _fitting(value, self._expects)

    def holds(self, variables: Variables) -> bool | Failed:
        """Return whether the value is true."""
        value = self.evaluate(variables)
        return value if isinstance(value, Failed) else value is True


_REASONS = (
    ("Key not found in map", "a claim or key in it is missing"),
    ("No value with name", "a variable in it is unknown for this request"),
    ("No matching overloads found", "a value has an unsupported type"),
    ("non-message type", "it selects a member of a value that has none"),
    ("budget", "its loops take too many steps"),
    ("ndex", "an index is out of range"),
)


def _reason(message: str) -> str:
    """Return the kind of an error. The library's message is not used, because it may quote a claim's value."""
    return next((reason for part, reason in _REASONS if part in message), "the evaluation failed")


def _fitting(value: object, expects: Expects) -> Value | Failed:
    match expects:
        case Expects.BOOL if isinstance(value, bool):
            return value
        case Expects.STRING if isinstance(value, str):
            return value
        case Expects.STRING_LIST if value is None:
            return []
        case Expects.STRING_LIST if isinstance(value, str):
            return [value]
        case Expects.STRING_LIST if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        case Expects.ANY if _is_plain(value):
            return value
        case Expects.ANY:
            return Failed("its value cannot be represented in JSON")
        case _:
            return Failed(f"its value is not a {expects.value}")


def _is_plain(value: object) -> TypeGuard[Value]:
    match value:
        case None | bool() | int() | float() | str():
            return True
        case list():
            return all(map(_is_plain, value))
        case dict():
            return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
        case _:
            return False
