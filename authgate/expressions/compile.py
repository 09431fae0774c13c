"""Compile the text of an expression into a program, or explain why it is rejected."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING

from authgate.expressions.bridge import bridged
from authgate.expressions.checks import Fault, faults_of, faults_of_syntax, presence_tests
from authgate.expressions.cost import cost_of
from authgate.expressions.environment import checking, evaluating, variables
from authgate.expressions.program import Program
from authgate.expressions.syntax import (
    OPEN,
    OPTIONAL,
    Call,
    Const,
    Ident,
    Node,
    Select,
    Tree,
    Type,
    read_checked,
    read_parsed,
    walk,
    write_parsed,
)
from authgate.expressions.values import (
    MAX_LENGTH,
    Expects,
    ExpressionError,
    MissingExtraError,
    Sees,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cel_expr_python import cel

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")
_NAME = string.ascii_letters + string.digits + "_."
_READING = {"claims": Sees.CLAIMS, "user": Sees.USER, "request": Sees.REQUEST, "now": Sees.NOW}
_CONVERSIONS = ("bool", "double", "duration", "int", "string", "timestamp", "uint")
_NOT_HERE = frozenset(
    (
        "url",
        "isURL",
        "getScheme",
        "getHost",
        "getHostname",
        "getPort",
        "getEscapedPath",
        "getQuery",
        "ip",
        "isIP",
        "ip.isCanonical",
        "cidr",
        "isCIDR",
        "containsIP",
        "containsCIDR",
        "quantity",
        "isQuantity",
        "semver",
        "isSemver",
        "format.named",
        "format",
        "authorizer",
        "image",
    )
)


def compiled(text: str, sees: Sees, expects: Expects) -> Program:
    """Return the program for a text. Raises `ExpressionError` and `MissingExtraError`."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is longer than {MAX_LENGTH} characters", text)
    if not text.strip():
        raise ExpressionError("is empty", text)
    for package in ("cel_expr_python", "re2"):
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtraError from error
    try:
        return _compiled(text, sees, expects)
    except RecursionError:
        raise ExpressionError("is nested too deeply", text) from None


def _compiled(text: str, sees: Sees, expects: Expects) -> Program:
    environment = checking(sees)
    parsed = read_parsed(_accepted(environment, text, sees, check=False).serialize())
    _refuse(text, parsed, faults_of_syntax(parsed))
    written = _without_presence_tests(text, parsed)
    tree = read_checked(_accepted(environment, written, sees, check=True).serialize())
    _refuse(text, tree, faults_of(tree))
    _refuse(text, tree, _unexpected(tree, expects))
    runtime = evaluating(sees)
    _refuse(text, tree, _bad_literals(tree, runtime))
    runnable = runtime.deserialize(write_parsed(bridged(tree)))
    return Program(
        text,
        frozenset(_claims(tree)),
        _variables_of(parsed),
        runnable,
        runtime,
        expects=expects,
        cost=cost_of(tree.root),
    )


def _variables_of(parsed: Tree) -> Sees:
    """Return the variables in a tree. Variables of loops never have the same names."""
    names = {node.name.lstrip(".") for node in walk(parsed.root) if isinstance(node, Ident)}
    return reduce(or_, (sees for name, sees in _READING.items() if name in names), Sees(0))


def _claims(tree: Tree) -> Iterator[str]:
    for node in walk(tree.root):
        match node:
            case Select(operand=Ident(name="claims"), field=name):
                yield name
            case Call(function="_?._", arguments=(Ident(name="claims"), Const(text=str(name)))):
                yield name
            case _:
                pass


def _without_presence_tests(text: str, parsed: Tree) -> str:
    """Replace `has(user.uid)` with `true` and spaces, so that all positions stay the same.

    Each member of `user` is a variable here, so that it has a type; `user` itself does not exist.
    """
    for place in presence_tests(parsed):
        start, end = text.rindex("has", 0, place + 1), text.index(")", place) + 1
        text = text[:start] + "true".ljust(end - start) + text[end:]
    return text


def _accepted(environment: cel.Env, text: str, sees: Sees, *, check: bool) -> cel.Expression:
    try:
        return environment.compile(text, disable_check=not check)
    except TypeError:  # the library raises this for a lone surrogate
        raise ExpressionError("is not valid UTF-8", text) from None
    except RuntimeError as error:
        found = _PLACE.search(str(error))
        if found is None:
            raise ExpressionError("cannot be parsed", text) from None
        row, column, message = int(found[1]) - 1, int(found[2]) - 1, found[3]
        before = sum(len(line) + 1 for line in text.split("\n")[:row])
        raise ExpressionError(_explained(message, sees), text, min(before + column, len(text))) from None


def _explained(message: str, sees: Sees) -> str:
    undeclared = _UNDECLARED.fullmatch(message)
    if undeclared is None:
        return message
    name = undeclared[1]
    if name in _NOT_HERE:
        return f"'{name}' is in a Kubernetes library that authgate does not support"
    known = ", ".join(variables(sees))
    return f"'{name}' is not a known function or variable; the variables here are: {known}"


def _refuse(text: str, tree: Tree, faults: Iterable[Fault]) -> None:
    for fault in faults:
        raise ExpressionError(fault.message, text, _start(text, tree, fault))


def _start(text: str, tree: Tree, fault: Fault) -> int | None:
    """Return where a node starts. The library gives a call the position of its parenthesis or operator."""
    start = min((tree.places[node.id] for node in walk(fault.node) if node.id in tree.places), default=None)
    if start is not None and text[start : start + 1] == "(":
        start -= len(text[:start]) - len(text[:start].rstrip(_NAME))
    return start


def _unexpected(tree: Tree, expects: Expects) -> Iterable[Fault]:
    given = tree.type_of(tree.root)
    if given.kind == OPTIONAL:
        return  # already reported
    match expects:
        case Expects.BOOL:
            if given != Type("bool"):
                advice = " (write a comparison, such as claims.x == true)" if given.kind in OPEN else ""
                yield Fault(tree.root, f"must return a bool, not {given}{advice}")
        case Expects.STRING:
            if given.kind not in ("string", *OPEN):
                yield Fault(tree.root, f"must return a string, not {given}")
        case Expects.STRING_LIST:
            items = given.of[0].kind if given.kind == "list" and given.of else given.kind
            if items not in ("string", *OPEN):
                yield Fault(tree.root, f"must return a string or a list of strings, not {given}")
        case Expects.ANY:
            return


def _bad_literals(tree: Tree, runtime: cel.Env) -> Iterable[Fault]:
    """Yield conversions of literals that always fail. The kube-apiserver rejects them at load, too."""
    for node in walk(tree.root):
        match node:
            case Call(function=function, arguments=(value,)) if function in _CONVERSIONS:
                if _is_literal(value) and not _succeeds(replace(tree, root=node), runtime):
                    yield Fault(value, f"is not a valid {function}")
            case _:
                pass


def _succeeds(tree: Tree, runtime: cel.Env) -> bool:
    try:
        return runtime.deserialize(write_parsed(bridged(tree))).eval(data={}).type().name() != "ERROR"
    except RuntimeError:
        return False


def _is_literal(node: Node) -> bool:
    match node:
        case Const():
            return True
        case Call(function=function, arguments=(value,)):
            return function in (*_CONVERSIONS, "dyn") and _is_literal(value)
        case _:
            return False
