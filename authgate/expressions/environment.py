"""The variables and functions of expressions, as in the kube-apiserver's environment.

Sources: kubernetes staging/src/k8s.io/apiserver/pkg/cel/environment/base.go, pkg/cel/library and
pkg/authentication/cel/compile.go; cel-go ext/strings.go, version 2.

An expression is checked in one environment, in which claims have the type `any` and functions have Kubernetes' types.
It is evaluated in another one, in which claims are plain values and the functions are the CEL library's or authgate's.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from authgate.expressions.library import MEMBERS
from authgate.expressions.values import Sees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cel_expr_python import cel

_VARIABLES = {
    Sees.CLAIMS: {"claims": "map<string,any>"},
    Sees.USER: {
        "user.username": "string",
        "user.uid": "string",
        "user.groups": "list<string>",
        "user.extra": "map<string,list<string>>",
    },
    Sees.REQUEST: {
        "request.method": "string",
        "request.host": "string",
        "request.path": "string",
        "request.segments": "list<string>",
    },
    Sees.QUERY: {"request.query": "string"},
    Sees.NOW: {"now": "timestamp"},
}
_COMPARABLE = ("int", "double", "bool", "duration", "timestamp", "string")
_SUMMABLE = ("int", "double", "duration")
# One overload per line: name, target or "-", parameters, result.
_STRINGS = (
    "charAt string (int) string",
    "indexOf string (string) int",
    "indexOf string (string,int) int",
    "join list<string> () string",
    "join list<string> (string) string",
    "lastIndexOf string (string) int",
    "lastIndexOf string (string,int) int",
    "lowerAscii string () string",
    "replace string (string,string) string",
    "replace string (string,string,int) string",
    "split string (string) list<string>",
    "split string (string,int) list<string>",
    "substring string (int) string",
    "substring string (int,int) string",
    "trim string () string",
    "upperAscii string () string",
    "format string (list<dyn>) string",
    "strings.quote - (string) string",
)
_KUBERNETES = (
    "find string (string) string",
    "findAll string (string) list<string>",
    "findAll string (string,int) list<string>",
    "indexOf list<~A> (~A) int",
    "lastIndexOf list<~A> (~A) int",
    *(f"isSorted list<{kind}> () bool" for kind in _COMPARABLE),
    *(f"sum list<{kind}> () {kind}" for kind in _SUMMABLE),
    *(f"min list<{kind}> () {kind}" for kind in _COMPARABLE),
    *(f"max list<{kind}> () {kind}" for kind in _COMPARABLE),
)
_CHECKED_EXTENSIONS = ("lists", "optional", "sets", "two-var-comprehensions")
_RUN_EXTENSIONS = (*_CHECKED_EXTENSIONS, "strings")


def variables(sees: Sees) -> dict[str, str]:
    """Return the variables that an expression may use, with their types."""
    return {name: kind for part, names in _VARIABLES.items() if part in sees for name, kind in names.items()}


@cache
def checking(sees: Sees) -> cel.Env:
    """Return the environment for checking expressions; it cannot evaluate. Created once per set of variables."""
    from cel_expr_python import cel

    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml("\n".join(_yaml(variables(sees), _CHECKED_EXTENSIONS, checked=True)))
    )


@cache
def evaluating(sees: Sees) -> cel.Env:
    """Return the environment for evaluating checked expressions. Created once per set of variables."""
    from cel_expr_python import cel

    names = variables(sees) | ({"claims": "map<string,dyn>"} if Sees.CLAIMS in sees else {})
    environment = cel.NewEnv(
        config=cel.NewEnvConfigFromYaml("\n".join(_yaml(names, _RUN_EXTENSIONS, checked=False))),
        functions=[
            cel.FunctionDecl(
                name,
                [
                    cel.Overload(
                        f"{name}_{index}", cel.Type(result), list(map(cel.Type, kinds)), True, implementation
                    )
                    for index, kinds in enumerate(overloads)
                ],
            )
            for name, overloads, result, implementation in MEMBERS
        ],
    )
    environment.compile("true")  # the first compilation registers the types of the variables
    return environment


def _yaml(names: dict[str, str], extensions: tuple[str, ...], *, checked: bool) -> Iterator[str]:
    yield "extensions:"
    for name in extensions:
        yield f"- name: {name}"
        if name == "strings":
            yield "  version: 2"
    yield "variables:"
    for name, kind in names.items():
        yield from (f'- name: "{name}"', f'  type: "{kind}"')
    if checked:
        yield from _functions()


def _functions() -> Iterator[str]:
    declared: dict[str, list[tuple[str, str]]] = {}
    for line in (*_STRINGS, *_KUBERNETES):
        name, target, parameters, result = line.split(" ")
        quoted = name.replace(".", "\\.")  # a dot inside the name, not one after a target
        signature = f"{quoted}{parameters}" if target == "-" else f"{target}.{quoted}{parameters}"
        declared.setdefault(name, []).append((signature, result))
    yield "functions:"
    for name, overloads in declared.items():
        yield from (f'- name: "{name}"', "  overloads:")
        for index, (signature, result) in enumerate(overloads):
            yield from (
                f"  - id: '{name}_{index}'",
                f"    signature: '{signature}'",
                f"    return: '{result}'",
            )
