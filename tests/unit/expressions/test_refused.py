"""Expressions that are rejected at load, with the position of the error."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest

from authgate.expressions import MAX_LENGTH, Expects, ExpressionError, Sees, compile_expression

EVERYTHING = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW


def refusal(text: str, expects: Expects = Expects.ANY, sees: Sees = EVERYTHING) -> ExpressionError:
    """Why an expression is rejected."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, sees, expects)
    return caught.value


AT_THE_CARET = {
    "syntax": ("claims.sub +", "Syntax error", 12),
    "unknown variable": ("nothing", "'nothing' is not a known function or variable", 0),
    "unknown function": ("'abc'.reverse()", "no matching overload", 13),
    "unknown member of user": ("user.name", "'user.name' is not", 4),
    "unknown member of request": ("request.body", "'request.body' is not", 7),
    "query that is not available": ("request.query", "'request.query' is not", 7),
    "user alone": ("user == user", "'user' is not", 0),
    "wrong types": ("user.username + 1", "no matching overload", 14),
    "a loop over a claim": ("claims.groups.map(g, g)", "cannot be the range of a comprehension", 6),
    "a test over a claim": ("claims.groups.all(g, g == 'a')", "cannot be the range of a comprehension", 6),
    "mixed list": ("['a', claims.sub]", "has the type any, but the one before it has string", 6),
    "mixed list, reversed": ("[claims.sub, 'a']", "has the type string, but the one before it has any", 13),
    "mixed map": ("{'a': 1, 'b': 'c'}", "has the type string, but the one before it has int", 14),
    "mixed keys": ("{'a': 1, 2: 3}", "has the type int, but the one before it has string", 9),
    "numbers of two types": ("1 == 1.0", "no matching overload", 2),
    "bad pattern": ("claims.sub.matches('[')", "not a valid RE2 regular expression", 19),
    "pattern with a look-behind": ("'a'.matches('(?<=a)b')", "not a valid RE2 regular expression", 12),
    "bad pattern to find": ("claims.sub.find('(')", "not a valid RE2 regular expression", 16),
    "bad pattern to find all": ("claims.sub.findAll('(', 1)", "not a valid RE2 regular expression", 19),
    "bad timestamp": ("timestamp('today')", "is not a valid timestamp", 10),
    "bad duration": ("duration('1d')", "is not a valid duration", 9),
    "bad number": ("int('x')", "is not a valid int", 4),
    "too large a number": ("int(1e20)", "is not a valid int", 4),
    "a bool as a number": ("int(claims.a == 1)", "no matching overload", 3),
    "bad number in a converted string": ("int(string(true))", "is not a valid int", 4),
    "bad number of an open type": ("int(dyn(true))", "is not a valid int", 4),
    "infinite number": ("1e400 > 0.0", "out of the range of a double", 0),
    "quoted name": ("claims.`a-b` == 'x'", "names in backticks are not supported", 0),
    "pattern that matches bytes": (r"claims.a.matches('\\C')", "matches bytes", 17),
    "bad bool": ("bool('x')", "is not a valid bool", 5),
    "claims as a whole, searched": ("'x' in claims", "claims cannot be used as a whole", 7),
    "claims as a whole, counted": ("size(claims)", "claims cannot be used as a whole", 5),
    "claims as a whole, in a loop": ("claims.all(k, k == 'a')", "claims cannot be used as a whole", 0),
    "claims as a whole, untyped": ("dyn(claims).sub", "claims cannot be used as a whole", 4),
    "a loop variable named claims": ("dyn(claims.l).all(claims, claims.a == 1)", "the variable of a loop", 0),
    "a bound value with the name of a variable": (
        "claims.?a.optMap(user, user.b)",
        "the variable of a loop",
        0,
    ),
    "presence in a request": ("has(request.path)", "has(request.path) is not supported", 0),
    "an optional value": ("claims.?sub", "is an optional value", 0),
    "an optional value of an optional one": ("claims.?a[?0]", "is an optional value", 0),
    "an optional value in a list": ("[claims.?sub]", "is an optional value", 1),
    "an optional value untyped": ("dyn(optional.of(1))", "is an optional value", 4),
    "an optional value compared": ("claims.?a == optional.none()", "is an optional value", 0),
    "an optional value to look for": ("claims.a.indexOf(claims.?b[?0])", "is an optional value", 17),
    "an optional value of two": ("claims.a ? claims.?b[?0] : claims.?c[?0]", "is an optional value", 0),
    "a sum of anything": ("claims.numbers.sum()", "known element type", 0),
    "an item of another type": ("['a'].indexOf(1)", "no matching overload", 13),
    "a message": ("google.protobuf.Timestamp{}", "are not supported", 0),
    "a transformed map": ("{'a': 1}.transformMap(k, v, v)", "transformMap and transformMapEntry", 8),
    "a range": ("lists.range(int(claims.n)).size() == 1", "lists.range is not supported", 0),
    "a library of Kubernetes": ("ip('10.0.0.1').family() == 4", "Kubernetes library that authgate", 2),
    "a bound variable": ("cel.bind(x, 1, x)", "is not a known function or variable", 9),
    "mathematics": ("math.greatest(1, 2)", "'math' is not", 0),
    "encodings": ("base64.encode(b'a')", "'base64' is not", 0),
    "format of a claim": ("'%s'.format([claims.sub])", "put dyn(…) around it", 13),
    "format of another type": ("'%d'.format(['a'])", "has the type string, which %d", 13),
    "format of an open type": ("'%d'.format([dyn(claims.a)])", "has the type dyn, which %d", 13),
    "format of a list": ("'%s'.format([['a']])", "has the type list, which %s", 13),
    "format of too few": ("'%s %s'.format(['a'])", "has 2 verbs for 1 values", 0),
    "format with an unknown verb": ("'%q'.format(['a'])", "%q is not supported", 0),
    "format with a precision": ("'%.2f'.format([1.0])", "%.2f is not supported", 0),
    "format with a percent sign at the end": ("'100%'.format(['a'])", "% is not supported", 0),
    "format without a literal": ("claims.a.format(['a'])", "needs a string literal", 0),
    "a string that grows twice": (
        "claims.a.replace('', claims.b).replace('', claims.c)",
        "can build very large strings",
        0,
    ),
    "strings that grow in a loop": (
        "dyn(claims.l).map(x, [x, x].join(claims.a))",
        "can build very large strings",
        21,
    ),
    "a timestamp as a string": ("string(now)", "string() of a timestamp", 0),
}


@pytest.mark.parametrize(("text", "words", "offset"), AT_THE_CARET.values(), ids=AT_THE_CARET)
def test_an_error_has_its_position(text: str, words: str, offset: int) -> None:
    """The message explains the error, and the offset points to it."""
    found = refusal(text)

    assert words in found.message
    assert found.offset == offset


@pytest.mark.parametrize(
    "text",
    ["claims.flag", "dyn(true)", "'true'", "claims.a ? claims.b : true", "[true]", "null"],
)
def test_a_rule_must_have_the_type_bool(text: str) -> None:
    """An expression that could return another type is rejected."""
    assert "must return a bool" in refusal(text, Expects.BOOL).message


@pytest.mark.parametrize("text", ["1", "true", "['a']", "null"])
def test_an_expression_of_another_type_is_not_a_string(text: str) -> None:
    """It would fail for every request."""
    assert "must return a string" in refusal(text, Expects.STRING).message


@pytest.mark.parametrize("text", ["1", "[1]", "{'a': 'b'}"])
def test_an_expression_of_another_type_is_not_a_list_of_strings(text: str) -> None:
    """It would fail for every request."""
    assert "must return a string or a list of strings" in refusal(text, Expects.STRING_LIST).message


@pytest.mark.parametrize(
    ("sees", "text"),
    [
        (Sees.CLAIMS, "user.username == 'a'"),
        (Sees.CLAIMS, "now > timestamp(0)"),
        (Sees.USER, "claims.sub == 'a'"),
        (Sees.USER | Sees.NOW, "request.path == '/'"),
    ],
)
def test_other_variables_are_unknown(sees: Sees, text: str) -> None:
    """The message lists the variables that can be used here."""
    assert "the variables here are:" in refusal(text, sees=sees).message


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_expression_is_rejected(text: str) -> None:
    """White space is empty, too."""
    assert refusal(text).message == "is empty"


def test_an_overlong_expression_is_rejected() -> None:
    """The length bounds the cost."""
    assert "is longer than" in refusal("'" + "a" * MAX_LENGTH + "'").message


@pytest.mark.parametrize(
    "text",
    [
        "'%s'.format([" * 600 + "'a'" + "])" * 600,
        "(" * 3000 + "1" + ")" * 3000,
        "claims" + ".a" * 4000,
        "1" + "+1" * 4000,
        "!" * 5000 + "true",
        "[" * 4000,
    ],
    ids=["formats", "parentheses", "members", "sum", "not", "lists"],
)
def test_a_deep_expression_overflows_no_stack(text: str) -> None:
    """It is accepted or rejected without a crash."""
    with suppress(ExpressionError):
        compile_expression(text, Sees.CLAIMS, Expects.ANY)


def test_a_lone_surrogate_is_rejected() -> None:
    """It cannot be encoded in UTF-8."""
    assert refusal("'\ud800'").message


def test_the_caret_is_under_the_error() -> None:
    """Only the line with the error is shown."""
    found = refusal("claims.a == 'b'\n  && nothing == 1\n  && true")

    assert found.pointed.split("\n")[1:] == ["    && nothing == 1", "       ^"]


def test_a_long_line_is_cut_around_the_place() -> None:
    """The line and the caret must fit into a terminal."""
    message, line, caret = refusal("'" + "a" * 500 + "' + 1 + '" + "b" * 500 + "'").pointed.split("\n")

    assert "no matching overload" in message
    assert len(line) < 100
    assert line[caret.index("^")] == "+"


def in_a_process_without(module: str, code: str) -> str:
    """The output of code in a process that cannot import a module."""
    program = f"import sys\nsys.modules[{module!r}] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("module", ["cel_expr_python", "re2"])
def test_without_the_extra_the_message_has_the_command(module: str) -> None:
    """It installs the missing packages."""
    printed = in_a_process_without(
        module,
        "from authgate.expressions import *\n"
        "try:\n    compile_expression('true', Sees.CLAIMS, Expects.BOOL)\n"
        "except MissingExtraError as error:\n    print(error)\n",
    )

    assert "pip install '.[cel]'" in printed


def test_the_library_is_loaded_with_the_first_expression() -> None:
    """A configuration without expressions does not load it."""
    printed = in_a_process_without(
        "nothing",
        "from authgate.expressions import *\n"
        "print('cel_expr_python' in sys.modules, 're2' in sys.modules)\n"
        "compile_expression('true', Sees.CLAIMS, Expects.BOOL)\n"
        "print('cel_expr_python' in sys.modules)\n",
    )

    assert printed.split() == ["False", "False", "True"]
