"""How an expression's cost grows with the claims: bounded before it is evaluated.

The CEL library itself stops after 10,000 steps of loops, and its patterns are RE2's; what is left is bounded here:
lists that are gone through within loops, and texts that are put into each other.
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
    """`depth` is how many loops stand in one another.

    `of_characters` tells that texts may become lists, `grows` that a text of the claims is put into another many times.
    """

    depth: int
    of_characters: bool
    grows: bool

    def is_within_bounds(self, size: Size) -> bool:
        """Tell whether an evaluation over claims of this size takes a bounded time and memory."""
        longest = max(size.longest_list, size.longest_text) if self.of_characters else size.longest_list
        if self.depth > 1 and longest**self.depth > _MAX_STEPS:
            return False
        return not self.grows or size.characters**2 <= _MAX_CHARACTERS


def cost_of(root: Node) -> Cost:
    """Return what an expression costs."""
    calls = [node for node in walk(root) if isinstance(node, Call)]
    return Cost(
        _depth(root),
        any(node.function in _OF_CHARACTERS for node in calls),
        any(map(grows, calls)),
    )


def grows(node: Node) -> bool:
    """Tell whether a node puts a text that is not written down into another, or between others."""
    return (
        isinstance(node, Call)
        and node.function in _GROWING
        and any(not isinstance(argument, Const) for argument in node.arguments)
    )


def growing_again(node: Node, *, again: bool = False) -> Iterator[Node]:
    """Yield the nodes that make a text grow within a loop, or one that has grown already."""
    if grows(node):
        if again:
            yield node
        again = True
    if isinstance(node, Comprehension) and node.variable != UNUSED:
        yield from growing_again(node.over, again=again)
        again = True
    for child in children(node):
        if not (isinstance(node, Comprehension) and child is node.over):
            yield from growing_again(child, again=again)


def _depth(node: Node) -> int:
    below = max(map(_depth, children(node)), default=0)
    match node:
        case Comprehension() if node.variable != UNUSED:
            within = max(_depth(part) for part in (node.condition, node.step, node.result))
            # the library copies the list that a loop builds, at every step
            builds = isinstance(node.start, Listing | Structure)
            return max(below, 1 + within, 2 if builds else 1)
        case Call(function=function) if function in _QUADRATIC:
            return 2 * max(below, 1)
        case Call(function=function, arguments=arguments) if function in _LINEAR:
            # a list that is written down is short
            return below if any(isinstance(item, Listing) for item in arguments) else max(below, 1)
        case _:
            return below
