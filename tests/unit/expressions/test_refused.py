"""Expressions that are refused at load, with the place that is wrong."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest

from authgate.expressions import MAX_LENGTH, Expects, ExpressionError, Sees, compile_expression

EVERYTHING = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW


def refusal(text: str, expects: Expects = Expects.ANY, sees: Sees = EVERYTHING) -> ExpressionError:
    """Why an expression is refused."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, sees, expects)
    return caught.value


AT_THE_CARET = {
    "syntax": ("claims.sub +", "Syntax error", 12),
    "unknown variable": ("nothing", "'nothing' is no function and no variable", 0),
    "unknown function": ("'abc'.reverse()", "no matching overload", 13),
    "unknown member of user": ("user.name", "'user.name' is no", 4),
    "unknown member of request": ("request.body", "'request.body' is no", 7),
    "query that is not seen": ("request.query", "'request.query' is no", 7),
    "user alone": ("user == user", "'user' is no", 0),
    "wrong types": ("user.username + 1", "no matching overload", 14),
    "claims to go through": ("claims.groups.map(g, g)", "cannot be the range of a comprehension", 6),
    "claims to test": ("claims.groups.all(g, g == 'a')", "cannot be the range of a comprehension", 6),
    "mixed list": ("['a', claims.sub]", "has the type any, where string stands before it", 6),
    "mixed list, turned round": ("[claims.sub, 'a']", "has the type string, where any stands before it", 13),
    "mixed map": ("{'a': 1, 'b': 'c'}", "has the type string, where int", 14),
    "mixed keys": ("{'a': 1, 2: 3}", "has the type int, where string", 9),
    "numbers of two types": ("1 == 1.0", "no matching overload", 2),
    "bad pattern": ("claims.sub.matches('[')", "no regular expression that RE2 can read", 19),
    "pattern with a look-behind": ("'a'.matches('(?<=a)b')", "no regular expression", 12),
    "bad pattern to find": ("claims.sub.find('(')", "no regular expression", 16),
    "bad pattern to find all": ("claims.sub.findAll('(', 1)", "no regular expression", 19),
    "bad timestamp": ("timestamp('today')", "is no timestamp", 10),
    "bad duration": ("duration('1d')", "is no duration", 9),
    "bad number": ("int('x')", "is no int", 4),
    "too large a number": ("int(1e20)", "is no int", 4),
    "a truth as a number": ("int(claims.a == 1)", "no matching overload", 3),
    "bad number by way of a text": ("int(string(true))", "is no int", 4),
    "bad number of an open type": ("int(dyn(true))", "is no int", 4),
    "infinite number": ("1e400 > 0.0", "no double holds", 0),
    "quoted name": ("claims.`a-b` == 'x'", "a name in backticks can't be read", 0),
    "pattern of bytes": (r"claims.a.matches('\\C')", "matches bytes", 17),
    "bad bool": ("bool('x')", "is no bool", 5),
    "claims as a whole, looked into": ("'x' in claims", "claims as a whole can't be used", 7),
    "claims as a whole, counted": ("size(claims)", "claims as a whole can't be used", 5),
    "claims as a whole, gone through": ("claims.all(k, k == 'a')", "claims as a whole can't be used", 0),
    "claims as a whole, untyped": ("dyn(claims).sub", "claims as a whole can't be used", 4),
    "a loop over claims by that name": ("dyn(claims.l).all(claims, claims.a == 1)", "a loop's variable", 0),
    "a value by the name of a variable": ("claims.?a.optMap(user, user.b)", "a loop's variable", 0),
    "presence in a request": ("has(request.path)", "can't be asked for with has()", 0),
    "an optional value": ("claims.?sub", "is an optional value", 0),
    "an optional value of an optional one": ("claims.?a[?0]", "is an optional value", 0),
    "an optional value in a list": ("[claims.?sub]", "is an optional value", 1),
    "an optional value untyped": ("dyn(optional.of(1))", "is an optional value", 4),
    "an optional value compared": ("claims.?a == optional.none()", "is an optional value", 0),
    "an optional value to look for": ("claims.a.indexOf(claims.?b[?0])", "is an optional value", 17),
    "an optional value of two": ("claims.a ? claims.?b[?0] : claims.?c[?0]", "is an optional value", 0),
    "a sum of anything": ("claims.numbers.sum()", "elements' type is known", 0),
    "an item of another type": ("['a'].indexOf(1)", "no matching overload", 13),
    "a message": ("google.protobuf.Timestamp{}", "can't be made here", 0),
    "a map made anew": ("{'a': 1}.transformMap(k, v, v)", "transformMap and transformMapEntry", 8),
    "a range": ("lists.range(int(claims.n)).size() == 1", "lists.range is not supported", 0),
    "a library of Kubernetes": ("ip('10.0.0.1').family() == 4", "library of Kubernetes that authgate", 2),
    "a bound variable": ("cel.bind(x, 1, x)", "is no function and no variable", 9),
    "mathematics": ("math.greatest(1, 2)", "'math' is no", 0),
    "encodings": ("base64.encode(b'a')", "'base64' is no", 0),
    "format of a claim": ("'%s'.format([claims.sub])", "put dyn(…) around it", 13),
    "format of another type": ("'%d'.format(['a'])", "has the type string, which %d", 13),
    "format of an open type": ("'%d'.format([dyn(claims.a)])", "has the type dyn, which %d", 13),
    "format of a list": ("'%s'.format([['a']])", "has the type list, which %s", 13),
    "format of too few": ("'%s %s'.format(['a'])", "has 2 verbs for 1 values", 0),
    "format of no verb": ("'%q'.format(['a'])", "%q is not supported", 0),
    "format with a precision": ("'%.2f'.format([1.0])", "%.2f is not supported", 0),
    "format that ends too soon": ("'100%'.format(['a'])", "% is not supported", 0),
    "format of an unknown text": ("claims.a.format(['a'])", "needs its text", 0),
    "a text that grows twice": (
        "claims.a.replace('', claims.b).replace('', claims.c)",
        "puts texts into texts",
        0,
    ),
    "texts that grow in a loop": (
        "dyn(claims.l).map(x, [x, x].join(claims.a))",
        "puts texts into texts",
        21,
    ),
    "a time as a text": ("string(now)", "a timestamp can't be made a text", 0),
}


@pytest.mark.parametrize(("text", "words", "offset"), AT_THE_CARET.values(), ids=AT_THE_CARET)
def test_what_is_wrong_is_told_at_its_place(text: str, words: str, offset: int) -> None:
    """A refusal says what is wrong, and where."""
    found = refusal(text)

    assert words in found.message
    assert found.offset == offset


@pytest.mark.parametrize(
    "text",
    ["claims.flag", "dyn(true)", "'true'", "claims.a ? claims.b : true", "[true]", "null"],
)
def test_a_rule_must_be_known_to_give_a_bool(text: str) -> None:
    """What may be something else at run time is no rule."""
    assert "must give a bool" in refusal(text, Expects.BOOL).message


@pytest.mark.parametrize("text", ["1", "true", "['a']", "null"])
def test_what_is_known_to_be_no_text_is_refused(text: str) -> None:
    """A value of another type would fail for every request."""
    assert "must give a string" in refusal(text, Expects.STRING).message


@pytest.mark.parametrize("text", ["1", "[1]", "{'a': 'b'}"])
def test_what_is_known_to_be_no_list_of_texts_is_refused(text: str) -> None:
    """A value of another type would fail for every request."""
    assert "must give a string or a list of strings" in refusal(text, Expects.STRING_LIST).message


@pytest.mark.parametrize(
    ("sees", "text"),
    [
        (Sees.CLAIMS, "user.username == 'a'"),
        (Sees.CLAIMS, "now > timestamp(0)"),
        (Sees.USER, "claims.sub == 'a'"),
        (Sees.USER | Sees.NOW, "request.path == '/'"),
    ],
)
def test_what_is_not_seen_is_unknown(sees: Sees, text: str) -> None:
    """An expression knows the variables of its place, and no others."""
    assert "the variables are:" in refusal(text, sees=sees).message


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_nothing_is_no_expression(text: str) -> None:
    """An empty text is refused."""
    assert refusal(text).message == "is empty"


def test_an_overlong_expression_is_refused() -> None:
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
def test_a_deep_expression_is_refused_or_taken_but_never_breaks(text: str) -> None:
    """No nesting is deep enough to overflow a stack."""
    with suppress(ExpressionError):
        compile_expression(text, Sees.CLAIMS, Expects.ANY)


def test_a_lone_surrogate_is_refused() -> None:
    """What is no text in UTF-8 can't be read."""
    assert refusal("'\ud800'").message


def test_the_caret_stands_under_the_line_that_is_wrong() -> None:
    """Of several lines, the one that is meant is shown."""
    found = refusal("claims.a == 'b'\n  && nothing == 1\n  && true")

    assert found.pointed.split("\n")[1:] == ["    && nothing == 1", "       ^"]


def test_a_long_line_is_cut_around_the_place() -> None:
    """A caret is of use on a line that fits a terminal."""
    message, line, caret = refusal("'" + "a" * 500 + "' + 1 + '" + "b" * 500 + "'").pointed.split("\n")

    assert "no matching overload" in message
    assert len(line) < 100
    assert line[caret.index("^")] == "+"


def in_a_process_without(module: str, code: str) -> str:
    """What code prints where a module can't be imported."""
    program = f"import sys\nsys.modules[{module!r}] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("module", ["cel_expr_python", "re2"])
def test_without_the_extra_the_command_to_type_is_told(module: str) -> None:
    """Whoever lacks the packages is told how to install them."""
    printed = in_a_process_without(
        module,
        "from authgate.expressions import *\n"
        "try:\n    compile_expression('true', Sees.CLAIMS, Expects.BOOL)\n"
        "except MissingExtraError as error:\n    print(error)\n",
    )

    assert "pip install '.[cel]'" in printed


def test_the_library_is_loaded_by_the_first_expression() -> None:
    """A configuration without expressions pays nothing for them."""
    printed = in_a_process_without(
        "nothing",
        "from authgate.expressions import *\n"
        "print('cel_expr_python' in sys.modules, 're2' in sys.modules)\n"
        "compile_expression('true', Sees.CLAIMS, Expects.BOOL)\n"
        "print('cel_expr_python' in sys.modules)\n",
    )

    assert printed.split() == ["False", "False", "True"]
