"""Checks that the kube-apiserver makes at load and the CEL library does not, and features that authgate lacks.

Sources: cel-go cel/validator.go and ext/formatting.go; kubernetes staging/src/k8s.io/apiserver/pkg/cel/environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

from authgate.expressions.bridge import INDEX, OPTIONAL_INDEX, OPTIONAL_SELECT
from authgate.expressions.cost import repeated_growth
from authgate.expressions.library import check_pattern
from authgate.expressions.syntax import (
    OPEN,
    OPTIONAL,
    Call,
    Comprehension,
    Const,
    Ident,
    Listing,
    Node,
    Select,
    Structure,
    Tree,
    Type,
    children,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOOKUPS = (INDEX, OPTIONAL_SELECT, OPTIONAL_INDEX)
_OF_OPTIONALS = ("value", "hasValue", "or", "orValue")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_VARIABLES = frozenset(("claims", "user", "request", "now"))
_WRITTEN_OTHERWISE = ("duration", "timestamp")
_VERB = re.compile(r"%(?:%|(\.\d+)?(.?))", re.DOTALL)
# Kubernetes formats these like the CEL library. It formats %e, %f, lists and maps differently.
_FORMATS = {
    "s": frozenset(("string", "bool", "bytes", "int", "uint", "double", "null_type", "dyn")),
    "d": frozenset(("int", "uint")),
    "b": frozenset(("bool", "int", "uint")),
    "x": frozenset(("string", "bytes", "int", "uint")),
    "X": frozenset(("string", "bytes", "int", "uint")),
    "o": frozenset(("int", "uint")),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an expression is rejected, and at which node."""

    node: Node
    message: str


def faults_of_syntax(tree: Tree) -> Iterator[Fault]:
    """Yield the faults of an expression that can be found without its types."""
    for node in walk(tree.root):
        match node:
            case Select(operand=Ident(name="request"), field=name, test=True):
                yield Fault(node, f"has(request.{name}) is not supported: compare the value instead")
            case Select(field=name) if not _IDENTIFIER.fullmatch(name):
                yield Fault(node, f"names in backticks are not supported; write an index: ['{name}']")
            case Const(text=str(text)) if "\0" in text:
                yield Fault(node, "has a NUL character, which no string in a request can have")
            case Const(double=value) if value is not None and isinf(value):
                yield Fault(node, "is out of the range of a double")
            case Comprehension() if {node.variable, node.second_variable, node.result_variable} & _VARIABLES:
                yield Fault(
                    node, "the variable of a loop must not be named like a variable of the expression"
                )
            case Structure(name=name) if name:
                yield Fault(node, f"messages such as {name}{{}} are not supported")
            case _:
                pass


def presence_tests(tree: Tree) -> Iterator[int]:
    """Yield the positions of `has(user.…)`, which is true for each of its four members."""
    for node in walk(tree.root):
        match node:
            case Select(operand=Ident(name="user"), field="username" | "uid" | "groups" | "extra", test=True):
                yield tree.places[node.id]
            case _:
                pass


def faults_of(tree: Tree) -> Iterator[Fault]:
    """Yield the faults of a checked expression."""
    for node, parent in _with_parents(tree.root):
        if tree.type_of(node).kind == OPTIONAL and not _takes_optional(parent, node):
            yield Fault(node, "is an optional value: use .orValue(…) or test it with .hasValue()")
        match node:
            case Ident(name="claims") if not _is_only_selected_from(parent, node):
                advice = "use one claim, as in claims.sub or has(claims.sub)"
                yield Fault(node, f"claims cannot be used as a whole: {advice}")
            case Listing() if not (isinstance(parent, Call) and parent.function == "format"):
                yield from _one_type(tree, node.elements, node.optional)
            case Structure(entries=entries):
                yield from _one_type(tree, (e.key for e in entries if not isinstance(e.key, str)), ())
                optional = tuple(index for index, entry in enumerate(entries) if entry.optional)
                yield from _one_type(tree, (entry.value for entry in entries), optional)
            case Call():
                yield from _faults_of_call(tree, node)
            case _:
                pass
    for node in repeated_growth(tree.root):
        yield Fault(
            node,
            "can build very large strings: use a literal, or move it out of the loop",
        )


def _with_parents(root: Node) -> Iterator[tuple[Node, Node | None]]:
    waiting: list[tuple[Node, Node | None]] = [(root, None)]
    while waiting:
        node, parent = waiting.pop()
        yield node, parent
        waiting += [(child, node) for child in reversed(tuple(children(node)))]


def _takes_optional(parent: Node | None, node: Node) -> bool:
    match parent:
        case Select(operand=operand):
            return operand is node
        case Call(function="_?_:_"):
            return True
        case Call(target=None, function=function, arguments=(first, *_)):
            return function in _LOOKUPS and first is node
        case Call(function="or", arguments=(other,)) if other is node:
            return True
        case Call(function=function, target=target):
            return target is node and function in _OF_OPTIONALS
        case Listing(elements=elements, optional=optional):
            return any(elements[index] is node for index in optional)
        case Structure(entries=entries):
            return any(entry.optional and entry.value is node for entry in entries)
        case Comprehension(result=result):
            return result is node
        case _:
            return False


def _is_only_selected_from(parent: Node | None, node: Node) -> bool:
    match parent:
        case Select(operand=operand):
            return operand is node
        case Call(target=None, function=function, arguments=(first, *_)):
            return function in _LOOKUPS and first is node
        case _:
            return False


def _one_type(tree: Tree, nodes: Iterable[Node], optional: tuple[int, ...]) -> Iterator[Fault]:
    first: Type | None = None
    for index, node in enumerate(nodes):
        kind = tree.type_of(node)
        if index in optional and kind.kind == OPTIONAL:
            kind = kind.of[0] if kind.of else Type("dyn")
        if first is None:
            first = kind
        elif kind != first:
            yield Fault(
                node,
                f"has the type {kind}, but the one before it has {first}; put dyn(…) around each of them",
            )
            return


def _faults_of_call(tree: Tree, node: Call) -> Iterator[Fault]:
    match node:
        case Call(function="matches" | "find" | "findAll", arguments=arguments, target=target):
            pattern = arguments[1 if target is None else 0]
            text = pattern.text if isinstance(pattern, Const) else None
            reason = None if text is None else check_pattern(text)
            if reason is not None:
                yield Fault(pattern, f"is not a valid RE2 regular expression: {reason}")
        case Call(function="lists.range"):
            yield Fault(node, "lists.range is not supported: a claim could request any number of elements")
        case Call(function="cel.@mapInsert"):
            yield Fault(node, "transformMap and transformMapEntry are not supported; use transformList")
        case Call(function="sum", target=target) if target is not None:
            kind = tree.type_of(target)
            if not kind.of or kind.of[0].kind in OPEN:
                advice = "as in dyn(claims.x).map(n, double(n)).sum()"
                yield Fault(node, f"sum needs a list with a known element type, {advice}")
        case Call(function="string", arguments=(value,)) if tree.type_of(value).kind in _WRITTEN_OTHERWISE:
            written = tree.type_of(value)
            yield Fault(
                node,
                f"string() of a {written} would differ from Kubernetes; use the original claim",
            )
        case Call(function="format", target=target, arguments=(values,)):
            yield from _faults_of_format(tree, node, target, values)
        case _:
            return


def _faults_of_format(tree: Tree, node: Call, target: Node | None, values: Node) -> Iterator[Fault]:
    if not isinstance(target, Const) or target.text is None or not isinstance(values, Listing):
        yield Fault(node, "format needs a string literal and a list literal, as in 'a %s'.format([b])")
        return
    found = [match for match in _VERB.finditer(target.text) if match[2] is not None]
    if len(found) != len(values.elements):
        yield Fault(target, f"has {len(found)} verbs for {len(values.elements)} values")
        return
    for match, element in zip(found, values.elements, strict=True):
        kind = tree.type_of(element).kind
        if match[1] or match[2] not in _FORMATS:
            yield Fault(target, f"{match[0]} is not supported: the verbs are %s, %d, %b, %o, %x and %X")
        elif kind not in _FORMATS[match[2]]:
            advice = "; put dyn(…) around it" if kind == "any" and match[2] == "s" else ""
            yield Fault(element, f"has the type {kind}, which {match[0]} cannot format{advice}")
