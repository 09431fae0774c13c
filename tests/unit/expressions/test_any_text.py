"""No text and no claims make expressions raise an undocumented error."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from authgate.expressions import Expects, ExpressionError, Sees, Value, Variables, compile_expression
from authgate.expressions.values import Failed
from authgate.model import Identity, OriginalRequest

EVERYTHING = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW
ATOMS = st.sampled_from(
    [
        "claims.a",
        "claims.?a",
        "claims.b.c",
        "user.groups",
        "user.extra",
        "request.path",
        "now",
        "x",
        "'a'",
        "1",
        "1.5",
        "true",
        "null",
        "[]",
        "{}",
        "['a', 'b']",
        "optional.none()",
        "b'a'",
        "type(1)",
        "duration('1s')",
    ]
)
UNARY = st.sampled_from(
    [
        "dyn({})",
        "has({}.a)",
        "{}.a",
        "{}.?a",
        "{}[0]",
        "{}[?0]",
        "{}['a']",
        "!{}",
        "-{}",
        "size({})",
        "[{}]",
        "[?{}]",
        "{{'a': {}}}",
        "{{?'a': {}}}",
        "optional.of({})",
        "optional.ofNonZeroValue({})",
        "{}.orValue(1)",
        "{}.hasValue()",
        "{}.value()",
        "string({})",
        "int({})",
        "timestamp({})",
        "'%s'.format([{}])",
        "{}.sum()",
        "{}.min()",
        "{}.isSorted()",
        "{}.sort()",
        "{}.distinct()",
        "{}.find('a')",
        "{}.first()",
        "{}.join(',')",
        "dyn({}).map(x, x)",
        "dyn({}).exists(x, x == 'a')",
        "dyn({}).all(i, x, i == x)",
        "{}.optMap(x, x)",
        "{}.optFlatMap(x, x.?a)",
        "dyn({}).sortBy(x, x)",
        "{}.split(',')",
        "{}.lowerAscii()",
        "type({})",
    ]
)
BINARY = st.sampled_from(
    [
        "{} + {}",
        "{} == {}",
        "{} < {}",
        "{} in {}",
        "{} && {}",
        "{} || {}",
        "{}[{}]",
        "{}[?{}]",
        "{}.indexOf({})",
        "true ? {} : {}",
        "{}.or({})",
        "{}.orValue({})",
        "sets.contains({}, {})",
        "{}.startsWith({})",
        "[{}, {}]",
        "{}.matches({})",
        "{}.replace('a', {})",
        "{{{}: {}}}",
        "dyn({}).map(x, {})",
        "{}.optMap(x, {})",
    ]
)
WRITTEN = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda form, text: form.format(text), UNARY, inner),
        st.builds(lambda form, one, other: form.format(one, other), BINARY, inner, inner),
    ),
    max_leaves=6,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from("abc"), inner)),
    max_leaves=6,
)


def evaluated(text: str, claims: dict[str, object]) -> Value | Failed | ExpressionError:
    """The result of an expression over claims."""
    try:
        expression = compile_expression(text, EVERYTHING, Expects.ANY)
    except ExpressionError as error:
        return error
    return expression.evaluate(
        Variables(
            claims=claims,  # type: ignore[arg-type] # JSON, as drawn
            user=Identity("jane", groups=("a",), extra=(("a", ("b",)),)),
            request=OriginalRequest("GET", "/a"),
            now=1.0,
        )
    )


@settings(max_examples=200, deadline=None)
@given(text=WRITTEN, a=JSON, b=JSON)
def test_any_expression_has_a_value_or_fails(text: str, a: object, b: object) -> None:
    """It is rejected, or has a JSON value, or fails."""
    found = evaluated(text, {"a": a, "b": b})

    assert isinstance(found, None | bool | int | float | str | list | dict | Failed | ExpressionError)


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_text_is_an_expression_or_rejected(text: str) -> None:
    """Characters of any kind are accepted or rejected."""
    evaluated(text, {})
