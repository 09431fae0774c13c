"""Entries of `jwt:` drawn from a grammar, and claims of any JSON type for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from authgate.dev.compact import OMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.oracle import Entry

_T = TypeVar("_T")

# Without control characters and lone surrogates: the gate rejects them, which other tests cover.
_TEXTS = st.text("abcABC019 .,:@-_/%éß王😀", max_size=8) | st.sampled_from(
    ["a", "b", "a,b", "true", "42", "1h"]
)
_NUMBERS = (
    st.integers(-3, 50)
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.5, 42.0, 1e21, -0.0])
)
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXTS
_NAMES = st.sampled_from(["a", "b", "c"])
_VALUES = st.recursive(
    _SCALARS | st.lists(_TEXTS, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=2),
    max_leaves=5,
)
_CLAIM = st.one_of(_TEXTS, _TEXTS, st.lists(_TEXTS, max_size=3), _VALUES, st.just(OMIT))

CLAIMS: st.SearchStrategy[Mapping[str, object]] = st.fixed_dictionaries(
    dict.fromkeys(("a", "b", "c"), _CLAIM),
    optional={
        "sub": _TEXTS,
        "jti": _TEXTS,
        "email": _TEXTS,
        "email_verified": st.sampled_from([True, False, None, "true"]),
    },
)
"""Claims that the grammar's expressions read. Most are strings, others have any type or are missing."""

_LITERALS = st.sampled_from(["'a'", "''", "'a,b'", "true", "null", "42", "0.5", "['a']", "[]", "{'a': 'b'}"])
_SELECTED = st.builds("claims.{}".format, _NAMES)
_VALUE = st.one_of(
    _SELECTED,
    st.builds("{}.{}".format, _SELECTED, _NAMES),
    st.builds("claims['{}']".format, _NAMES),
    st.builds("claims.?{}.orValue('a')".format, _NAMES),
    st.builds("claims.?{}.{}.orValue('b')".format, _NAMES, _NAMES),
    st.builds("{}[0]".format, _SELECTED),
)
_CONDITION: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        st.builds("{} == {}".format, _VALUE, _LITERALS),
        st.builds("{} != {}".format, _VALUE, _VALUE),
        st.builds(
            "{} {} {}".format,
            _VALUE,
            st.sampled_from(["<", "<=", ">", ">="]),
            st.sampled_from(["1", "0.5", "'a'"]),
        ),
        st.builds("{} in ['a', 'b', '']".format, _VALUE),
        st.builds("'a' in {}".format, _VALUE),
        st.builds("has({}.{})".format, _SELECTED, _NAMES),
        st.builds("has(claims.{})".format, _NAMES),
        st.builds("claims.?{}.hasValue()".format, _NAMES),
        st.builds("{}.{}('a')".format, _VALUE, st.sampled_from(["startsWith", "endsWith", "contains"])),
        st.builds("{}.matches('^[a-c]+$')".format, _VALUE),
        st.builds("dyn({}).{}(x, x == 'a')".format, _VALUE, st.sampled_from(["all", "exists", "exists_one"])),
        st.builds("size({}) == {}".format, _VALUE, st.integers(0, 3)),
        st.builds(
            "type({}) == {}".format, _VALUE, st.sampled_from(["string", "double", "bool", "list", "map"])
        ),
        st.builds("!({})".format, _CONDITION),
        st.builds("({}) {} ({})".format, _CONDITION, st.sampled_from(["&&", "||"]), _CONDITION),
    )
)
_TEXT: st.SearchStrategy[str] = st.deferred(
    lambda: st.one_of(
        _VALUE,
        st.builds("'p:' + {}".format, _VALUE),
        st.builds("({}) + ({})".format, _TEXT, _TEXT),
        st.builds("{}.{}()".format, _VALUE, st.sampled_from(["lowerAscii", "upperAscii", "trim"])),
        st.builds("{}.replace('a', 'xy')".format, _VALUE),
        st.builds("{}.substring(1)".format, _VALUE),
        st.builds("{}.split(',')[0]".format, _VALUE),
        st.builds("{}.find('[a-c0-9]+')".format, _VALUE),
        st.builds("string({})".format, _VALUE),
        st.builds("dyn({}).join('-')".format, _VALUE),
        st.builds("{} ? {} : {}".format, _CONDITION, _VALUE, _VALUE),
    )
)
_LIST = st.one_of(
    _VALUE,
    st.builds("[{}]".format, _VALUE),
    st.builds("['x', dyn({})]".format, _VALUE),
    st.builds("dyn({}).map(x, 'g:' + x)".format, _VALUE),
    st.builds("dyn({}).filter(x, x != 'a')".format, _VALUE),
    st.builds("{}.findAll('[a-c]').filter(x, x != 'b')".format, _VALUE),
    st.builds("{}.split(',').map(x, x.trim())".format, _VALUE),
    st.builds("{} ? ['a'] : ['b', '']".format, _CONDITION),
)
_OF_USER = st.sampled_from(
    [
        "!user.username.startsWith('p')",
        "user.username != 'a'",
        "user.groups.all(g, g != 'a')",
        "user.groups.size() < 3",
        "user.uid == '' || user.uid.size() > 1",
        "'example.com/x' in user.extra",
        "user.extra.?nothing.orValue([]).size() == 0",
        "!('a' in user.groups)",
    ]
)


def _expressions(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"expression": text})


_PREFIX = st.sampled_from(["", "p:", "-"])
_PREFIXED = st.fixed_dictionaries({"claim": _NAMES, "prefix": _PREFIX})
_EXTRA = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["example.com/x", "example.com/y"]), "valueExpression": _TEXT | _LIST}
    ),
    max_size=2,
    unique_by=lambda entry: str(entry["key"]),
)
_RULES = st.lists(
    _expressions(_CONDITION)
    | st.fixed_dictionaries({"claim": _NAMES, "requiredValue": st.sampled_from(["", "a", "true"])}),
    max_size=2,
    unique_by=str,
)

_BY_SUB = st.just({"claim": "sub", "prefix": ""})
_USERNAME = st.one_of(
    _BY_SUB,
    _BY_SUB,
    st.fixed_dictionaries({"claim": st.sampled_from(["a", "email"]), "prefix": _PREFIX}),
    _expressions(_TEXT),
)

ENTRIES: st.SearchStrategy[Entry] = st.fixed_dictionaries(
    {
        "claimMappings": st.fixed_dictionaries(
            {"username": _USERNAME},
            optional={
                "groups": _PREFIXED | _expressions(_LIST),
                "uid": st.fixed_dictionaries({"claim": _NAMES}) | _expressions(_TEXT),
                "extra": _EXTRA,
            },
        ),
        "claimValidationRules": st.just([]) | st.just([]) | _RULES,
        "userValidationRules": st.lists(_expressions(_OF_USER), max_size=1),
    }
)
"""Entries of `jwt:` without an issuer. Server and gate accept most of them."""


def drawn(strategy: st.SearchStrategy[_T], count: int, *, same: bool) -> list[_T]:
    """Return `count` values from hypothesis; with `same`, every run has the same ones.

    Values are not shrunk, because they are tested in batches: one server has many entries.
    """
    values: list[_T] = []

    @settings(
        max_examples=count,
        derandomize=same,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: _T) -> None:
        values.append(value)

    keep()
    return values[-count:]
