"""Syntax trees: parsed from what the CEL library serializes, and serialized for it to evaluate.

Source: cel.dev/expr, syntax.proto and checked.proto. The numbers here are field numbers of their messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import unpack
from typing import TYPE_CHECKING

from authgate.expressions import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Type:
    """A static type: its CEL name, which may be `any` or `dyn`, and its type parameters `of`."""

    kind: str
    of: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return self.kind + (f"({', '.join(map(str, self.of))})" if self.of else "")


@dataclass(frozen=True, slots=True)
class Const:
    """A literal as serialized by the library, with the value of a string in `text` and of a double in `double`."""

    id: int
    raw: bytes
    text: str | None = None
    double: float | None = None


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable, type or enum constant, by its full name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` if `test` is set."""

    id: int
    operand: Node
    field: str
    test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function, an operator, or a method, which has a target."""

    id: int
    function: str
    arguments: tuple[Node, ...]
    target: Node | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list literal; `optional` has the indices of its `?` elements."""

    id: int
    elements: tuple[Node, ...] = ()
    optional: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and value of a map literal, or a field name and value of a message literal."""

    id: int
    key: Node | str
    value: Node
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """A map literal, or a message literal if it has a name."""

    id: int
    entries: tuple[Entry, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comprehension:
    """A fold over a list or map, which macros such as `all` and `map` expand to."""

    id: int
    variable: str
    second_variable: str
    over: Node
    result_variable: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node = Const | Ident | Select | Call | Listing | Structure | Comprehension


@dataclass(frozen=True, slots=True)
class Tree:
    """An expression: its root, and for every node id the static type (if checked) and the position in the text."""

    root: Node
    types: Mapping[int, Type] = field(repr=False)
    places: Mapping[int, int] = field(repr=False)

    def type_of(self, node: Node) -> Type:
        """Return the static type of a node, `dyn` if the checker did not decide it.

        The checker forgets that a lookup in an optional value of an open type is optional, too. This restores it.
        """
        given = self.types.get(node.id, _DYN)
        if given.kind == OPTIONAL or given.kind not in OPEN:
            return given
        match node:
            case Call(function="_?._" | "_[?_]", target=None):
                return _SOME_OPTIONAL
            case Call(function="_[_]", arguments=(first, _)) | Select(operand=first, test=False):
                return _SOME_OPTIONAL if self.type_of(first).kind == OPTIONAL else given
            case Call(function="_?_:_", arguments=(_, *branches)):
                optional = any(self.type_of(branch).kind == OPTIONAL for branch in branches)
                return _SOME_OPTIONAL if optional else given
            case Comprehension(result=result):
                return _SOME_OPTIONAL if self.type_of(result).kind == OPTIONAL else given
            case _:
                return given


OPTIONAL = "optional_type"
OPEN = ("any", "dyn")
"""The static types of values whose types are only known at evaluation."""

_DYN = Type("dyn")
_SOME_OPTIONAL = Type(OPTIONAL, (_DYN,))


def children(node: Node) -> Iterator[Node]:
    """Yield the direct children of a node."""
    match node:
        case Const() | Ident():
            return
        case Select(operand=operand):
            yield operand
        case Call(arguments=arguments, target=target):
            if target is not None:
                yield target
            yield from arguments
        case Listing(elements=elements):
            yield from elements
        case Structure(entries=entries):
            for entry in entries:
                if not isinstance(entry.key, str):
                    yield entry.key
                yield entry.value
        case Comprehension():
            yield from (node.over, node.start, node.condition, node.step, node.result)


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all its descendants."""
    yield node
    for child in children(node):
        yield from walk(child)


_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "any", 2: "timestamp", 3: "duration"}


def read_checked(serialized: bytes) -> Tree:
    """Parse a checked expression from `cel.Expression.serialize`."""
    checked = wire.Message(serialized).message(2)
    types = {entry.number(1): _type(entry.message(2)) for entry in checked.messages(3)}
    places = {entry.number(1): entry.number(2) for entry in checked.message(5).messages(4)}
    return Tree(_node(checked.message(4)), types, places)


def read_parsed(serialized: bytes) -> Tree:
    """Parse an unchecked expression, which has no types, from `cel.Expression.serialize`."""
    parsed = wire.Message(serialized).message(2)
    places = {entry.number(1): entry.number(2) for entry in parsed.message(3).messages(4)}
    return Tree(_node(parsed.message(2)), {}, places)


def write_parsed(root: Node) -> bytes:
    """Serialize an expression for `cel.Env.deserialize`, to be evaluated without another check."""
    parsed = wire.data(2, _written(root))
    return wire.data(1, "type.googleapis.com/cel.expr.ParsedExpr") + wire.data(2, parsed)


def _type(message: wire.Message) -> Type:
    for number, kind in ((1, "dyn"), (2, "null_type"), (12, "error")):
        if number in message:
            return Type(kind)
    if 3 in message:
        return Type(_PRIMITIVES.get(message.number(3), "dyn"))
    if 5 in message:
        return Type(_WELL_KNOWN.get(message.number(5), "dyn"))
    if 6 in message:
        return Type("list", (_type(message.message(6).message(1)),))
    if 7 in message:
        return Type("map", (_type(message.message(7).message(1)), _type(message.message(7).message(2))))
    if 14 in message:
        abstract = message.message(14)
        return Type(abstract.text(1), tuple(map(_type, abstract.messages(2))))
    if 11 in message:
        return Type("type")
    return Type(message.text(9)) if 9 in message else _DYN


def _node(message: wire.Message) -> Node:
    identity = message.number(2)
    if 3 in message:
        raw = message.data(3)
        constant = wire.Message(raw)
        text = constant.text(6) if 6 in constant else None
        return Const(identity, raw, text, unpack("<d", constant.data(5))[0] if 5 in constant else None)
    if 4 in message:
        return Ident(identity, message.message(4).text(1))
    if 5 in message:
        select = message.message(5)
        return Select(identity, _node(select.message(1)), select.text(2), bool(select.number(3)))
    if 6 in message:
        call = message.message(6)
        target = _node(call.message(1)) if 1 in call else None
        return Call(identity, call.text(2), tuple(map(_node, call.messages(3))), target)
    if 7 in message:
        listing = message.message(7)
        return Listing(identity, tuple(map(_node, listing.messages(1))), tuple(listing.numbers(2)))
    if 8 in message:
        structure = message.message(8)
        return Structure(identity, tuple(map(_entry, structure.messages(2))), structure.text(1))
    fold = message.message(9)
    over, start, condition, step, result = (_node(fold.message(number)) for number in (2, 4, 5, 6, 7))
    return Comprehension(
        id=identity,
        variable=fold.text(1),
        second_variable=fold.text(8),
        over=over,
        result_variable=fold.text(3),
        start=start,
        condition=condition,
        step=step,
        result=result,
    )


def _entry(message: wire.Message) -> Entry:
    key = message.text(2) if 2 in message else _node(message.message(3))
    return Entry(message.number(1), key, _node(message.message(4)), bool(message.number(5)))


def _written(node: Node) -> bytes:
    return wire.number(2, node.id) + _written_kind(node)


def _written_kind(node: Node) -> bytes:
    match node:
        case Const(raw=raw):
            return wire.data(3, raw)
        case Ident(name=name):
            return wire.data(4, wire.data(1, name))
        case Select(operand=operand, field=name, test=test):
            return wire.data(5, wire.data(1, _written(operand)) + wire.data(2, name) + wire.number(3, test))
        case Call(function=function, arguments=arguments, target=target):
            called = b"" if target is None else wire.data(1, _written(target))
            called += wire.data(2, function)
            return wire.data(6, called + b"".join(wire.data(3, _written(item)) for item in arguments))
        case Listing(elements=elements, optional=optional):
            items = b"".join(wire.data(1, _written(item)) for item in elements)
            # packed, because an index of 0 must be written, too
            return wire.data(7, items + (wire.data(2, _packed(optional)) if optional else b""))
        case Structure(entries=entries, name=name):
            fields = b"".join(wire.data(2, _written_entry(entry)) for entry in entries)
            return wire.data(8, (wire.data(1, name) if name else b"") + fields)
        case Comprehension():
            return wire.data(9, _written_fold(node))


def _packed(values: tuple[int, ...]) -> bytes:
    return b"".join(wire.varint(value) for value in values)


def _written_entry(entry: Entry) -> bytes:
    key = wire.data(2, entry.key) if isinstance(entry.key, str) else wire.data(3, _written(entry.key))
    return (
        wire.number(1, entry.id) + key + wire.data(4, _written(entry.value)) + wire.number(5, entry.optional)
    )


def _written_fold(fold: Comprehension) -> bytes:
    names = wire.data(1, fold.variable) + wire.data(3, fold.result_variable)
    if fold.second_variable:
        names += wire.data(8, fold.second_variable)
    parts = ((2, fold.over), (4, fold.start), (5, fold.condition), (6, fold.step), (7, fold.result))
    return names + b"".join(wire.data(number, _written(part)) for number, part in parts)
