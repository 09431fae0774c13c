"""The values of expressions are those that a kube-apiserver returned."""

from __future__ import annotations

import pytest

from authgate.expressions import Expects, Failed, Sees, Value, Variables, compile_expression
from authgate.model import Identity, JSONValue, OriginalRequest

CLAIMS: dict[str, JSONValue] = {
    "sub": "abc",
    "groups": ["a", "b"],
    "n": 42,
    "big": 1234567,
    "half": 0.5,
    "flag": True,
    "none": None,
    "m": {"x": 1, "a.b": "dot", "l": [{"k.e": "v", "s": "t"}]},
    "kubernetes.io": {"namespace": "prod"},
    "a/b": "slash",
    "a__b": "underscores",
    "a__x__b": "unknown escape",
    "numbers": [3, 1, 2],
    "words": ["b", "a"],
    "mixed": ["a", 1, None, True],
    "nested": [["a"], ["b"]],
    "csv": "a,b",
    "empty": [],
    "time": "2020-01-01T00:00:00Z",
    "signs": "äé€😀",
}
USER = Identity(
    "jane",
    uid="u-1",
    groups=("a", "b"),
    extra=(("example.com/a__x__b", ("3",)), ("example.com/x.y", ("1", "2"))),
)
REQUEST = OriginalRequest("GET", "/a/b", "app.example.com", "q=1")
EVERYTHING = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.QUERY | Sees.NOW
VARIABLES = Variables(
    claims=CLAIMS, user=USER, request=REQUEST, segments=("a", "b"), now=1_700_000_000.0
)  # 2023-11-14


def value(text: str, variables: Variables = VARIABLES) -> Value | Failed:
    """The value of an expression."""
    return compile_expression(text, EVERYTHING, Expects.ANY).evaluate(variables)


VALUES: dict[str, Value] = {
    # every number is a double
    "claims.n == 42": True,
    "claims.n > 41": True,
    "claims.n in [1, 42]": True,
    "claims.n": 42.0,
    "string(claims.n)": "42",
    "string(claims.big)": "1.234567e+06",
    "string(claims.half)": "0.5",
    "int(claims.n)": 42,
    "type(claims.n) == double": True,
    # open types
    "[claims.sub]": ["abc"],
    "!claims.flag": False,
    "claims.flag ? claims.sub : 'x'": "abc",
    "claims.groups + ['c']": ["a", "b", "c"],
    "claims.none == null": True,
    "{'a': claims.sub}": {"a": "abc"},
    # escaped names
    "claims.kubernetes__dot__io.__namespace__": "prod",
    "claims['kubernetes__dot__io']['namespace']": "prod",
    "claims['kubernetes.io'].namespace": "prod",
    "claims.?kubernetes__dot__io.?namespace.orValue('')": "prod",
    "has(claims.kubernetes__dot__io)": True,
    "claims.a__slash__b": "slash",
    "claims.a__underscores__b": "underscores",
    "claims.a__b": "underscores",
    "has(claims.a__x__b)": False,
    "claims.?a__x__b.hasValue()": False,
    "claims.m.a__dot__b": "dot",
    "dyn(claims.m.l)[0].k__dot__e": "v",
    "(claims.flag ? claims.m : claims.m).a__dot__b": "dot",
    "[claims.m][0].a__dot__b": "dot",
    "{'q': claims.m}.q.a__dot__b": "dot",
    "claims.?m.a__dot__b.orValue('')": "dot",
    "claims.?m.optMap(m, m.a__dot__b).orValue('')": "dot",
    "dyn(claims.m.l).exists(e, has(e.k__dot__e))": False,
    "dyn(claims.m.l).exists(e, e['k.e'] == 'v')": True,
    "user.extra.example__dot__com__slash__x__dot__y": ["1", "2"],
    "user.extra['example.com/a__x__b']": ["3"],
    # presence
    "has(claims.sub)": True,
    "has(claims.nothing)": False,
    "has(claims.sub.x)": False,
    "has(claims.n.x)": False,
    "has(claims.none.x)": False,
    "has(claims.m.x)": True,
    "has(claims.m.y)": False,
    "has(claims.?m.x)": True,
    "has(claims.?nothing.x)": False,
    "has(claims.?sub.x)": False,
    "has(user.uid)": True,
    "has( user.extra ) && user.uid != 'has(user.uid)'": True,
    # optional values
    "claims.?m.x.orValue(0)": 1.0,
    "claims.?m.?y.orValue(0)": 0,
    "claims.?sub.x.orValue('none')": "none",
    "claims.none.?x.orValue('none')": "none",
    "claims.?nothing.a.b.c.orValue('none')": "none",
    "claims.?groups[?0].orValue('none')": "a",
    "claims.?groups[0].orValue('none')": "a",
    "claims.?groups[9].orValue('none')": "none",
    "claims.sub[?0].orValue('none')": "none",
    "claims.n[?0].orValue('none')": "none",
    "claims.?nested[?0][?0].orValue('')": "a",
    "(claims.flag ? claims.?m[?'x'] : claims.?m[?'y']).orValue(0.0)": 1.0,
    "[?claims.?sub, ?claims.?nothing]": ["abc"],
    "claims.?nothing.or(claims.?sub).orValue('')": "abc",
    "optional.ofNonZeroValue(claims.empty).hasValue()": True,
    "optional.ofNonZeroValue(dyn('')).hasValue()": False,
    # Kubernetes' libraries
    "claims.sub.find('[b-z]+')": "bc",
    "claims.sub.find('q')": "",
    "claims.csv.findAll('[a-z]')": ["a", "b"],
    "claims.csv.findAll('[a-z]', 1)": ["a"],
    "claims.csv.findAll('[a-z]', 0)": [],
    "claims.csv.findAll('[a-z]', -1)": ["a", "b"],
    "claims.signs.findAll('.')": ["ä", "é", "€", "😀"],
    "claims.words.isSorted()": False,
    "claims.numbers.min()": 1.0,
    "claims.words.max()": "b",
    "[1, 2].sum()": 3,
    "[1.5].sum()": 1.5,
    "[].sum()": 0,
    "[duration('1s'), duration('2s')].sum() == duration('3s')": True,
    "dyn(claims.numbers).map(n, double(n)).sum()": 6.0,
    "claims.groups.indexOf('b')": 1,
    "claims.numbers.indexOf(1)": 1,
    "claims.mixed.indexOf(true)": 3,
    "claims.mixed.indexOf(1)": 1,
    "claims.mixed.lastIndexOf(null)": 2,
    "claims.sub.indexOf('b')": 1,
    "[['a'], ['b']].indexOf(['b'])": 1,
    "sets.contains(claims.groups, ['a'])": True,
    "dyn(claims.groups).all(i, g, i < 2)": True,
    "dyn(claims.groups).transformList(i, g, g + string(i))": ["a0", "b1"],
    "claims.words.sort()": ["a", "b"],
    # strings
    "claims.csv.split(',')": ["a", "b"],
    "claims.groups.join('-')": "a-b",
    "strings.quote(claims.sub)": '"abc"',
    "claims.signs.charAt(3)": "😀",
    "'%s %d'.format(['a', 1])": "a 1",
    "'%s'.format([dyn(claims.big)])": "1.234567e+06",
    "'%s'.format([dyn(claims.none)])": "null",
    "'%x'.format([255])": "ff",
    # times
    "timestamp(claims.time) < now": True,
    "now.getFullYear()": 2023,
    # user and request
    "user.groups.all(g, g.size() == 1)": True,
    "'example.com/x.y' in user.extra": True,
    "request.method + request.host + request.path": "GETapp.example.com/a/b",
    "request.segments": ["a", "b"],
    "request.query": "q=1",
    # an error that does not matter
    "claims.nothing == 1 || true": True,
    "claims.sub.x == 1 || true": True,
    "claims.nothing == 1 && false": False,
}


@pytest.mark.parametrize(("text", "expected"), VALUES.items(), ids=VALUES)
def test_an_expression_has_the_value_of_the_api_server(text: str, expected: Value) -> None:
    """Types, escapes, presence, optional values and libraries work as in Kubernetes."""
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


FAILURES = {
    "int(claims.flag)": "has an unsupported type",
    "claims.n + 1": "has an unsupported type",
    "claims.n % 2": "has an unsupported type",
    "claims.nothing": "is missing",
    "claims.m.y": "is missing",
    "claims.a__x__b": "is missing",
    "has(claims.nothing.x)": "is missing",
    "has(claims.groups.x)": "that has none",
    "claims.sub.x": "that has none",
    "claims.?groups.x.orValue('')": "has an unsupported type",
    "claims.groups[2]": "out of range",
    "claims.none.min()": "has an unsupported type",
    "claims.mixed.min()": "evaluation failed",
    "claims.mixed.isSorted()": "evaluation failed",
    "dyn([]).min()": "evaluation failed",
    "claims.sub.matches(claims.sub + '[')": "evaluation failed",
    "claims.sub.find(claims.sub + '[')": "evaluation failed",
    "[9223372036854775807, 1].sum()": "evaluation failed",
    "1 / 0": "evaluation failed",
    "timestamp(claims.sub)": "evaluation failed",
    "'%s'.format([dyn(claims.groups)])": "has an unsupported type",
    "b'a'": "cannot be represented in JSON",
    "now": "cannot be represented in JSON",
    "type(1)": "cannot be represented in JSON",
    "[now]": "cannot be represented in JSON",
    "{1: 'a'}": "cannot be represented in JSON",
}


@pytest.mark.parametrize(("text", "words"), FAILURES.items(), ids=FAILURES)
def test_a_failed_evaluation_reports_the_kind_of_error(text: str, words: str) -> None:
    """No exception of the library is raised, and no detail quotes a claim."""
    found = value(text)

    assert isinstance(found, Failed)
    assert words in found.detail
    assert "abc" not in found.detail


@pytest.mark.parametrize(
    "text",
    [
        "claims.sub == 'a'",
        "user.username == 'a'",
        "request.path == '/'",
        "request.segments == []",
        "now == now",
    ],
)
def test_an_unknown_variable_fails(text: str) -> None:
    """An expression with an unknown variable is never true."""
    found = compile_expression(text, EVERYTHING, Expects.BOOL).holds(Variables())

    assert isinstance(found, Failed)
    assert "unknown for this request" in found.detail


@pytest.mark.parametrize(
    ("text", "expected"), [("claims.flag == true", True), ("claims.flag == false", False)]
)
def test_a_rule_is_true_or_false(text: str, expected: bool) -> None:
    """The value of a rule is a bool."""
    assert compile_expression(text, EVERYTHING, Expects.BOOL).holds(VARIABLES) is expected


def test_a_rule_that_fails_is_not_true() -> None:
    """An error is never true."""
    rule = compile_expression("claims.sub > 1", EVERYTHING, Expects.BOOL)

    assert isinstance(rule.holds(VARIABLES), Failed)


@pytest.mark.parametrize(("text", "expected"), [("claims.sub", "abc"), ("'a' + claims.sub", "aabc")])
def test_a_string_is_returned(text: str, expected: str) -> None:
    """An open type is checked at evaluation."""
    assert compile_expression(text, EVERYTHING, Expects.STRING).evaluate(VARIABLES) == expected


@pytest.mark.parametrize("text", ["claims.n", "claims.groups", "claims.none"])
def test_another_value_is_not_a_string(text: str) -> None:
    """Values are never converted to a string."""
    found = compile_expression(text, EVERYTHING, Expects.STRING).evaluate(VARIABLES)

    assert found == Failed("its value is not a string")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("claims.groups", ["a", "b"]),
        ("claims.sub", ["abc"]),
        ("claims.none", []),
        ("claims.csv.split(',')", ["a", "b"]),
    ],
)
def test_strings_are_returned(text: str, expected: list[str]) -> None:
    """A string becomes a list with one element, null an empty list."""
    assert compile_expression(text, EVERYTHING, Expects.STRING_LIST).evaluate(VARIABLES) == expected


@pytest.mark.parametrize("text", ["claims.n", "claims.numbers", "claims.mixed", "claims.m"])
def test_other_values_are_not_strings(text: str) -> None:
    """A list with any other element fails."""
    found = compile_expression(text, EVERYTHING, Expects.STRING_LIST).evaluate(VARIABLES)

    assert isinstance(found, Failed)


def test_an_expression_lists_the_claims_that_it_selects() -> None:
    """Selectors count, indexes do not, as in the kube-apiserver."""
    text = "has(claims.a) && dyn(claims.b).exists(x, x == claims.?c.orValue('')) && claims['d'] == user.uid"

    assert compile_expression(text, EVERYTHING, Expects.BOOL).claims == {"a", "b", "c"}


def test_variables_can_be_used_by_several_expressions() -> None:
    """The same object works for claim rules and for policies."""
    rule = compile_expression("claims.sub == 'abc'", Sees.CLAIMS, Expects.BOOL)
    policy = compile_expression("claims.sub == 'abc' && now > timestamp(0)", EVERYTHING, Expects.BOOL)

    assert (rule.holds(VARIABLES), policy.holds(VARIABLES)) == (True, True)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("dyn(claims.l).all(a, claims.l.indexOf(a) != -2)", 1001),
        ("claims.l.distinct().size() > 0", 1001),
        ("dyn(claims.l).map(x, x).size() > 0", 1001),
        ("dyn(claims.l).filter(x, true).size() > 0", 1001),
        ("dyn(claims.l).exists(a, a in claims.l)", 1001),
        ("sets.contains(claims.l, claims.l)", 1001),
        ("dyn(claims.l).all(a, claims.l.distinct().size() > 0)", 101),
    ],
)
def test_nested_loops_over_large_claims_fail(text: str, length: int) -> None:
    """No token can keep a worker busy for seconds."""
    rule = compile_expression(text, Sees.CLAIMS, Expects.BOOL)
    few: list[JSONValue] = [*range(length - 1)]
    many: list[JSONValue] = [*range(length)]

    assert not isinstance(rule.holds(Variables(claims={"l": few})), Failed)
    found = rule.holds(Variables(claims={"l": many}))
    assert isinstance(found, Failed)
    assert "the claims are too large" in found.detail


def test_strings_that_become_lists_count_as_lists() -> None:
    """A long string that is split is a long list."""
    rule = compile_expression(
        "claims.t.split('').exists(a, claims.t.split('').exists(b, a != b))", Sees.CLAIMS, Expects.BOOL
    )

    assert rule.holds(Variables(claims={"t": "ab"})) is True
    assert isinstance(rule.holds(Variables(claims={"t": "a" * 1001})), Failed)


def test_strings_that_grow_are_bounded() -> None:
    """Inserting a string between the characters of another grows quadratically."""
    rule = compile_expression("claims.t.replace('', claims.t).size() > 0", Sees.CLAIMS, Expects.BOOL)

    assert rule.holds(Variables(claims={"t": "a" * 1000})) is True
    assert isinstance(rule.holds(Variables(claims={"t": "a" * 4000})), Failed)


@pytest.mark.parametrize(
    "text",
    ["dyn(claims.l).exists(a, a == 'b')", "dyn(claims.l).exists(a, a in ['b', 'c'])", "'b' in claims.l"],
)
def test_a_single_loop_may_be_long(text: str) -> None:
    """Checking each of many groups once is cheap."""
    claims: dict[str, JSONValue] = {"l": [*["a"] * 9_998, "b"]}

    assert compile_expression(text, Sees.CLAIMS, Expects.BOOL).holds(Variables(claims=claims)) is True


@pytest.mark.parametrize(
    "text",
    [
        "dyn(claims.l).exists(a, a == 'b')",
        "dyn(claims.l).all(a, true) && dyn(claims.l).all(a, true)",
        "claims.t.split('').all(a, true)",
    ],
)
def test_loops_have_a_limit_of_steps(text: str) -> None:
    """The CEL library stops after 10,000 steps, which is a failure."""
    rule = compile_expression(text, Sees.CLAIMS, Expects.BOOL)

    assert rule.holds(Variables(claims={"l": ["a"] * 10_001, "t": "a" * 10_001})) == Failed(
        "its loops take too many steps"
    )


READS: dict[str, Sees] = {
    "'g:request-handlers' in user.groups": Sees.USER,
    "claims.sub == 'now'": Sees.CLAIMS,
    "claims.request == 'now'": Sees.CLAIMS,
    "claims['request'] == claims.?now.orValue('')": Sees.CLAIMS,
    "{'request': 1}.request == 1": Sees(0),
    "true // as in request.path": Sees(0),
    "user.groups.all(each, each != 'now')": Sees.USER,
    "has(user.uid)": Sees.USER,
    "request.path == '/'": Sees.REQUEST,
    "['a'].exists(one, one == request.host)": Sees.REQUEST,
    "request.query == ''": Sees.REQUEST,
    ".request.path == '/'": Sees.REQUEST,
    "true || now > timestamp(0)": Sees.NOW,
    "has(claims.a) ? user.uid == '' : now == now": Sees.CLAIMS | Sees.USER | Sees.NOW,
}


@pytest.mark.parametrize(("text", "reads"), READS.items(), ids=READS)
def test_the_syntax_shows_which_variables_are_read(text: str, reads: Sees) -> None:
    """A string, member or comment with the name of a variable does not count."""
    assert compile_expression(text, EVERYTHING, Expects.BOOL).reads == reads
