"""Bound the cost of an expression, depending on the size of the claims, before it is evaluated.

The CEL library stops after 10,000 loop steps, and RE2 bounds regular expressions. This module bounds the rest:
functions that search lists inside loops, and functions that insert strings into strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authgate.expressions.bridge import UNUSED
from authgate.expressions.syntax import Call, Comprehension, Const, Listing, Node, Structure, children, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.expressions.values import Size

_MAX_STEPS = 1_000_000
_MAX_CHARACTERS = 10_000_000
_LINEAR = frozenset(
    ("@in", "flatten", "indexOf", "isSorted", "lastIndexOf", "max", "min", "reverse", "slice", "sort", "sum")
)
_QUADRATIC = frozenset(("distinct", "sets.contains", "sets.equivalent", "sets.intersects"))
_OF_CHARACTERS = frozenset(("findAll", "split"))
_GROWING = frozenset(("join", "replace"))


@dataclass(frozen=True, slots=True)
class Cost:
    """`depth` is the number of nested loops.

    `of_characters`: strings may become lists. `grows`: a string from the claims may be inserted many times into
    another one.
    """

    depth: int
    of_characters: bool
    grows: bool

    def is_within_bounds(self, size: Size) -> bool:
        """Return whether an evaluation with variables of this size takes bounded time and memory."""
        longest = max(size.longest_list, size.longest_text) if self.of_characters else size.longest_list
        if self.depth > 1 and longest**self.depth > _MAX_STEPS:
            return False
        return not self.grows or size.characters**2 <= _MAX_CHARACTERS


def cost_of(root: Node) -> Cost:
    """Return the cost of an expression."""
    calls = [node for node in walk(root) if isinstance(node, Call)]
    return Cost(
        _depth(root),
        any(node.function in _OF_CHARACTERS for node in calls),
        any(map(grows, calls)),
    )


def grows(node: Node) -> bool:
    """Return whether a call inserts a string that is not a literal into or between other strings."""
    return (
        isinstance(node, Call)
        and node.function in _GROWING
        and any(not isinstance(argument, Const) for argument in node.arguments)
    )


def repeated_growth(node: Node, *, again: bool = False) -> Iterator[Node]:
    """Yield calls that make a string grow inside a loop, or that take a string that has already grown."""
    if grows(node):
        if again:
            yield node
        again = True
    if isinstance(node, Comprehension) and node.variable != UNUSED:
        yield from repeated_growth(node.over, again=again)
        again = True
    for child in children(node):
        if not (isinstance(node, Comprehension) and child is node.over):
            yield from repeated_growth(child, again=again)


def _depth(node: Node) -> int:
    below = max(map(_depth, children(node)), default=0)
    match node:
        case Comprehension() if node.variable != UNUSED:
            within = max(_depth(part) for part in (node.condition, node.step, node.result))
            # the library copies the list that a loop builds in every step
            builds = isinstance(node.start, Listing | Structure)
            return max(below, 1 + within, 2 if builds else 1)
        case Call(function=function) if function in _QUADRATIC:
            return 2 * max(below, 1)
        case Call(function=function, arguments=arguments) if function in _LINEAR:
            # a list literal is short
            return below if any(isinstance(item, Listing) for item in arguments) else max(below, 1)
        case _:
            return below
