"""Rewrite expressions so that the CEL library evaluates them as the kube-apiserver does.

- Members of claims have escaped names (`claims.kubernetes__dot__io`).
- `has`, `?.` and `[?…]` of a value that is neither a map nor a list are false or `optional.none()`; the library fails.
- Methods that both lists and strings have get different names, and `sum` one for each type of elements.
- Strings are converted to numbers, booleans and times only if Go accepts them (conversions.py), and
  `getMilliseconds` of a duration returns the whole duration.
- `int` of a bool fails, `format` writes numbers as `string` does, and an empty list in a token is not a zero value.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from authgate.expressions import wire
from authgate.expressions.conversions import READ_BY_GO
from authgate.expressions.names import unescape
from authgate.expressions.syntax import (
    OPEN,
    OPTIONAL,
    Call,
    Comprehension,
    Const,
    Entry,
    Ident,
    Listing,
    Node,
    Select,
    Structure,
    Tree,
    Type,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONAL_SELECT, OPTIONAL_INDEX, INDEX = "_?._", "_[?_]", "_[_]"

UNUSED = "#unused"
"""The name of the variable of a fold over an empty list."""

_SHARED = ("indexOf", "lastIndexOf")
_ESCAPED = ("claims", "user.extra")
_PASS_THROUGH = (
    OPTIONAL_SELECT,
    OPTIONAL_INDEX,
    INDEX,
    "_?_:_",
    "dyn",
    "optional.of",
    "optional.ofNonZeroValue",
)
_FALSE = wire.varint(2 << 3) + wire.varint(0)


def bridged(tree: Tree) -> Node:
    """Return the tree to evaluate in place of a checked one."""
    return _Bridge(tree).node(tree.root)


class _Bridge:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._ids = count(max(node.id for node in walk(tree.root)) + 1)
        self._escaped = set(_ESCAPED)

    def node(self, node: Node) -> Node:
        match node:
            case Const() | Ident():
                return node
            case Select(operand=operand):
                return self._select(node, operand)
            case Call():
                return self._call(node)
            case Listing(elements=elements):
                return replace(node, elements=tuple(map(self.node, elements)))
            case Structure(entries=entries):
                return replace(node, entries=tuple(map(self._entry, entries)))
            case Comprehension():
                # a fold over an empty list only gives a value a name
                if node.variable == UNUSED and self._is_escaped(node.start):
                    self._escaped.add(node.result_variable)
                return replace(
                    node,
                    over=self.node(node.over),
                    start=self.node(node.start),
                    condition=self.node(node.condition),
                    step=self.node(node.step),
                    result=self.node(node.result),
                )

    def _entry(self, entry: Entry) -> Entry:
        key = entry.key if isinstance(entry.key, str) else self.node(entry.key)
        return replace(entry, key=key, value=self.node(entry.value))

    def _select(self, node: Select, operand: Node) -> Node:
        holder, name = self._member(operand, node.field)
        kind = self._tree.type_of(operand)
        if not node.test:
            if kind.kind == OPTIONAL:
                return self._optional(holder, kind, OPTIONAL_SELECT, self._text(name))
            return replace(node, operand=holder, field=name)
        if kind.kind == OPTIONAL:
            return self._bind(
                holder,
                lambda outer: self._call_of(
                    "_&&_",
                    self._method(outer, "hasValue"),
                    self._bind(self._method(outer, "value"), lambda value: self._present(value, node, name)),
                ),
            )
        if kind.kind in OPEN:
            return self._bind(holder, lambda value: self._present(value, node, name))
        return replace(node, operand=holder, field=name)

    def _present(self, value: Node, node: Select, name: str) -> Node:
        test = Select(next(self._ids), value, name, test=True)
        return self._call_of("_?_:_", self._holds_members(value), test, Const(next(self._ids), _FALSE))

    def _call(self, node: Call) -> Node:
        if node.function in (OPTIONAL_SELECT, OPTIONAL_INDEX, INDEX) and node.target is None:
            return self._lookup(node)
        if node.function == "format":
            return replace(node, arguments=tuple(map(self._texts, node.arguments)))
        target = None if node.target is None else self.node(node.target)
        arguments = tuple(map(self.node, node.arguments))
        if node.target is None and len(arguments) == 1 and node.function in READ_BY_GO:
            return self._conversion(node, arguments[0])
        if (
            node.function == "optional.ofNonZeroValue"
            and self._is_escaped(node.arguments[0])
            and self._tree.type_of(node.arguments[0]).kind in OPEN
        ):
            return self._bind(arguments[0], lambda value: self._not_zero(node, value))
        if node.target is not None and target is not None:
            kind = self._tree.type_of(node.target)
            if node.function == "sum" and kind.of:
                return replace(node, function=f"@sum_{kind.of[0]}", target=target, arguments=arguments)
            if node.function == "getMilliseconds" and not arguments:
                return self._milliseconds(node, kind, target)
            if node.function in _SHARED and len(arguments) == 1:
                return self._shared(node, kind, target, arguments)
        return replace(node, target=target, arguments=arguments)

    def _conversion(self, node: Call, value: Node) -> Node:
        """Convert what Kubernetes converts: only strings that Go accepts, and no bool to a number."""
        kind = self._tree.type_of(node.arguments[0]).kind
        if kind == "string":
            return replace(node, arguments=(self._method(value, f"@{node.function}_text"),))
        if kind in OPEN:
            return self._bind(value, lambda value: self._open_conversion(node, value))
        return replace(node, arguments=(value,))

    def _open_conversion(self, node: Call, value: Node) -> Node:
        of_text = replace(node, arguments=(self._method(value, f"@{node.function}_text"),))
        other: Node = replace(node, arguments=(value,))
        if node.function == "int":
            other = self._call_of("_?_:_", self._is(value, "bool"), self._call_of("uint", value), other)
        return self._call_of("_?_:_", self._is(value, "string"), of_text, other)

    def _milliseconds(self, node: Call, kind: Type, target: Node) -> Node:
        """Return all milliseconds of a duration, or those within the second of a timestamp."""
        if kind.kind == "duration":
            return self._method(target, "@milliseconds")
        if kind.kind not in OPEN:
            return replace(node, target=target)
        return self._bind(
            target,
            lambda value: self._call_of(
                "_?_:_",
                self._is(value, "google.protobuf.Duration"),
                self._method(value, "@milliseconds"),
                replace(node, target=value),
            ),
        )

    def _not_zero(self, node: Call, value: Node) -> Node:
        """Treat any list or map in the claims as non-zero: Kubernetes does so even for empty ones."""
        return self._call_of(
            "_?_:_",
            self._holds_members(value),
            self._call_of("optional.of", value),
            replace(node, arguments=(value,)),
        )

    def _texts(self, values: Node) -> Node:
        """Convert the values of `%s` with `string`, because the library formats numbers differently."""
        if not isinstance(values, Listing):
            return self.node(values)
        elements = []
        for element in values.elements:
            bridged_element = self.node(element)
            if self._tree.type_of(element).kind in (*OPEN, "double"):
                bridged_element = self._bind(
                    bridged_element,
                    lambda value: self._call_of(
                        "_?_:_", self._is(value, "null_type"), value, self._call_of("string", value)
                    ),
                )
            elements.append(bridged_element)
        return replace(values, elements=tuple(elements))

    def _shared(self, node: Call, kind: Type, target: Node, arguments: tuple[Node, ...]) -> Node:
        of_list = replace(node, function=f"@{node.function}", target=target, arguments=arguments)
        if kind.kind == "list":
            return of_list
        if kind.kind not in OPEN:
            return replace(node, target=target, arguments=arguments)
        return self._bind(
            target,
            lambda value: self._call_of(
                "_?_:_",
                self._is(value, "list"),
                replace(of_list, target=value),
                replace(node, target=value, arguments=arguments),
            ),
        )

    def _lookup(self, node: Call) -> Node:
        operand, key = node.arguments
        kind = self._tree.type_of(operand)
        if isinstance(key, Const) and key.text is not None:
            holder, name = self._member(operand, key.text)
            key = self._text(name)
        else:
            holder, key = self.node(operand), self.node(key)
        if node.function == INDEX and kind.kind != OPTIONAL:
            return replace(node, arguments=(holder, key))
        function = OPTIONAL_INDEX if node.function == INDEX else node.function
        return self._optional(holder, kind, function, key)

    def _optional(self, holder: Node, kind: Type, function: str, key: Node) -> Node:
        """Look up an optional key, in a value or in an optional value."""
        if kind.kind == OPTIONAL:
            return self._bind(
                holder,
                lambda outer: self._call_of(
                    "_?_:_",
                    self._method(outer, "hasValue"),
                    self._optional(self._method(outer, "value"), Type("dyn"), function, key),
                    self._call_of("optional.none"),
                ),
            )
        if kind.kind not in OPEN:
            return self._call_of(function, holder, key)
        return self._bind(
            holder,
            lambda value: self._call_of(
                "_?_:_",
                self._holds_members(value),
                self._call_of(function, value, key),
                self._call_of("optional.none"),
            ),
        )

    def _member(self, operand: Node, name: str) -> tuple[Node, str]:
        """Return the operand of a member, and the unescaped name of the member."""
        if not self._is_escaped(operand):
            return self.node(operand), name
        real = unescape(name)
        if real is None and isinstance(operand, Ident) and operand.name == "claims":
            # a claim with an invalid escape is never found; members inside a claim are, by the name as written
            return Structure(next(self._ids), ()), name
        return self.node(operand), name if real is None else real

    def _holds_members(self, value: Node) -> Node:
        return self._call_of("_||_", self._is(value, "map"), self._is(value, "list"))

    def _is(self, value: Node, kind: str) -> Node:
        return self._call_of("_==_", self._call_of("type", value), Ident(next(self._ids), kind))

    def _text(self, text: str) -> Const:
        return Const(next(self._ids), wire.data(6, text), text)

    def _call_of(self, function: str, *arguments: Node) -> Call:
        return Call(next(self._ids), function, arguments)

    def _method(self, target: Node, function: str) -> Call:
        return Call(next(self._ids), function, (), target)

    def _bind(self, value: Node, body: Callable[[Node], Node]) -> Node:
        """Bind a value to a name, like the macro `cel.bind`: with a fold over an empty list."""
        name = f"@bound{next(self._ids)}"
        return Comprehension(
            id=next(self._ids),
            variable=UNUSED,
            second_variable="",
            over=Listing(next(self._ids)),
            result_variable=name,
            start=value,
            condition=Const(next(self._ids), _FALSE),
            step=Ident(next(self._ids), name),
            result=body(Ident(next(self._ids), name)),
        )

    def _is_escaped(self, node: Node) -> bool:
        """Return whether a value is a part of the claims, whose members have escaped names.

        Elements of a comprehension are not: the kube-apiserver does not unescape names there.
        """
        match node:
            case Ident(name=name):
                return name in self._escaped
            case Select(operand=operand):
                return self._is_escaped(operand)
            case Call(target=None, function=function, arguments=arguments) if arguments:
                return function in _PASS_THROUGH and any(map(self._is_escaped, arguments[:3]))
            case Call(function="value" | "orValue", target=target) if target is not None:
                return self._is_escaped(target)
            case Listing(elements=elements):
                return any(map(self._is_escaped, elements))
            case Structure(entries=entries):
                return any(self._is_escaped(entry.value) for entry in entries)
            case _:
                return False
