"""Expressions have the same results in a kube-apiserver and in the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from authgate.dev.compact import OMIT
from tests.support.parity import Case, Difference, Stricter, Subject, Wider, cases, put_to_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.oracle import Oracle
    from tests.support.parity import Token

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS: dict[str, object] = {
    "missing": OMIT,
    "null": None,
    "a text": "value",
    "empty": "",
    "a number": 42,
    "a fraction": 0.5,
    "true": True,
    "false": False,
    "a list": ["a", "b"],
    "an empty list": [],
    "a mixed list": ["a", 1, None],
    "an object": {"b": "c"},
}
"""A claim of every JSON type."""


def _all_kinds(claim: str = "x", **further: object) -> dict[str, Any]:
    return {
        **{kind: {claim: value} for kind, value in KINDS.items()},
        **{name: {claim: value} for name, value in further.items()},
    }


def _subject(entry: Mapping[str, Any], expression: str, tokens: Mapping[str, Any]) -> Subject:
    whole = {"claimMappings": {"username": {"claim": "sub", "prefix": ""}}, **entry}
    return Subject(expression, whole, tokens)


def username(expression: str, **tokens: Token | Stricter | Wider) -> Subject:
    """An expression for the username, over a claim `x` of every kind unless tokens are given."""
    return _subject(
        {"claimMappings": {"username": {"expression": expression}}}, expression, tokens or _all_kinds()
    )


def mapped(name: str, expression: str, **tokens: Token | Stricter | Wider) -> Subject:
    """An expression for groups or uid, over a claim `x` of every kind unless tokens are given."""
    by_sub = {"username": {"claim": "sub", "prefix": ""}}
    entry = {"claimMappings": {**by_sub, name: {"expression": expression}}}
    return _subject(entry, f"{name}: {expression}", tokens or _all_kinds())


def extra(expression: str, **tokens: Token | Stricter | Wider) -> Subject:
    """An expression for the value of an extra key, over a claim `x` of every kind unless tokens are given."""
    by_sub = {"username": {"claim": "sub", "prefix": ""}}
    keys = [{"key": "example.com/x", "valueExpression": expression}]
    return _subject(
        {"claimMappings": {**by_sub, "extra": keys}}, f"extra: {expression}", tokens or _all_kinds()
    )


def rule(expression: str, **tokens: Token | Stricter | Wider) -> Subject:
    """A rule over claims, where `x` is of every kind unless tokens are given."""
    entry = {"claimValidationRules": [{"expression": expression, "message": "not so"}]}
    return _subject(entry, expression, tokens or _all_kinds())


def user_rule(expression: str, **tokens: Token | Stricter | Wider) -> Subject:
    """A rule over the user that all four mappings give."""
    mappings = {
        "username": {"claim": "sub", "prefix": ""},
        "groups": {"claim": "groups", "prefix": ""},
        "uid": {"expression": "claims.?oid.orValue('')"},
        "extra": [{"key": "example.com/x", "valueExpression": "claims.?x.orValue('')"}],
    }
    entry = {
        "claimMappings": mappings,
        "userValidationRules": [{"expression": expression, "message": "not so"}],
    }
    return _subject(entry, expression, tokens)


_NOW = 2_000_000_000

TABLE = (
    username("claims.x"),
    username("'corp:' + claims.x"),
    username("has(claims.x) ? claims.x : claims.sub"),
    username("claims.?x.orValue(claims.sub)"),
    username("claims['x']"),
    username("string(claims.x)", **_all_kinds(large=1234567, tiny=1e-7, huge=1e21)),
    username("claims.x.lowerAscii().trim()", upper={"x": " JANE "}, mark={"x": "JÄNE"}, number={"x": 1}),
    username(
        "claims.x.split('@')[0]", address={"x": "jane@example.com"}, none={"x": "jane"}, empty={"x": ""}
    ),
    username(
        "claims.email_verified == true ? claims.email : claims.sub",
        verified={"email": "jane@example.com", "email_verified": True},
        not_verified={"email": "jane@example.com", "email_verified": False},
        a_text={"email": "jane@example.com", "email_verified": "true"},
        missing={"email": "jane@example.com"},
    ),
    username(
        "claims.kubernetes__dot__io.sub__dash__name",
        there={"kubernetes.io": {"sub-name": "jane"}},
        spelled_out={"kubernetes__dot__io": {"sub__dash__name": "jane"}},
        missing={},
    ),
    mapped("groups", "claims.x"),
    mapped("groups", "[claims.x]"),
    mapped("groups", "dyn(claims.x).map(g, 'g:' + g)"),
    mapped("groups", "dyn(claims.x).filter(g, g != 'a')"),
    mapped("groups", "has(claims.x) ? claims.x : []"),
    mapped("groups", "claims.x == 'value' ? ['admins', ''] : []"),
    mapped("groups", "claims.?x.orValue(['guests'])"),
    mapped(
        "groups",
        "claims.x.split(',')",
        texts=Wider(Difference.SPLIT, {"x": "a,b"}),
        missing={},
        a_list={"x": ["a", "b"]},
    ),
    mapped("groups", "claims.x.split(',').map(g, g.trim())", texts={"x": "a, b"}, empty={"x": ""}),
    mapped("uid", "claims.x"),
    mapped("uid", "claims.?x.orValue('')"),
    extra("claims.x"),
    extra("[claims.x]"),
    extra("claims.?x.orValue([])"),
    extra("string(claims.iat)", whole={"iat": 1_700_000_000}, missing={"iat": OMIT}),
    rule("claims.x == 'value'"),
    rule("has(claims.x)"),
    rule("!has(claims.x)"),
    rule("has(claims.x.b)"),
    rule("has(claims.x) && claims.x == 'value'"),
    rule("claims.?x.b.orValue('') == 'c'"),
    rule("claims.?x.hasValue()"),
    rule("claims.x in ['value', 'other']"),
    rule("'a' in claims.x"),
    rule("claims.x == 42"),
    rule("claims.x > 5"),
    rule("claims.x + 1.0 == 43.0"),
    rule("claims.x + 1 == 43"),
    rule("claims.x == null"),
    rule(
        "claims.x.orValue('a') == 'a'",
        a_text=Stricter(Difference.OR_VALUE, {"x": "a"}),
        missing={},
        a_list={"x": ["a"]},
    ),
    rule("claims.x == ['a', 'b']"),
    rule("claims.x == {'b': 'c'}"),
    rule("type(claims.x) == double || type(claims.x) == string"),
    rule("claims.missing == 'x' || has(claims.x)"),
    rule("claims.missing == 'x' && has(claims.x)"),
    rule("dyn(claims.x).exists(g, g == 'a')"),
    rule("dyn(claims.x).exists_one(g, g == 'a')"),
    rule(
        "dyn(claims.x).all(a, dyn(claims.x).all(b, true))",
        ninety={"x": ["a"] * 90},
        more=Stricter(Difference.BOUNDS, {"x": ["a"] * 110}),
        far_too_many={"x": ["a"] * 1100},
    ),
    rule(
        "dyn(claims.x).map(g, g).size() > 1000 || claims.x.replace('a', claims.sub) != ''",
        texts={"x": "a"},
        list={"x": ["a"] * 1000},
        long_list=Stricter(Difference.BOUNDS, {"x": ["a"] * 1100}),
        long_text=Stricter(Difference.BOUNDS, {"x": "a" * 4000}),
    ),
    rule(
        "dyn(claims.x).all(a, dyn(claims.x).all(b, (a + b).matches('^(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p)+$')))",
        ten={"x": ["abcdefghij"] * 10},
        ninety=Wider(Difference.COST, {"x": ["abcdefghij" * 10] * 90}),
    ),
    rule("{'a': 1, 'a': 2}.size() == 1", any=Stricter(Difference.MAP_KEYS, {})),
    rule(
        "{claims.x: 1}.size() == 1",
        text={"x": "a"},
        number=Stricter(Difference.MAP_KEYS, {"x": 1}),
        missing={},
    ),
    rule("claims.x[0] == 'a'"),
    rule("claims.x.size() == 2"),
    rule("size(claims.x) == 2"),
    rule("claims.x.startsWith('val') && claims.x.endsWith('ue') && claims.x.contains('a')"),
    rule("claims.x.matches('^v[a-l]+ue$')"),
    rule("int(claims.x) == 42", **_all_kinds(digits="42", words="4 2", much=1e30)),
    rule(
        "claims.exp - claims.nbf <= 86400",
        short={"nbf": _NOW - 1, "exp": _NOW, "x": "not valid yet"},
        good={},
        long={"exp": 4_102_444_800},
        missing={"nbf": OMIT},
    ),
    rule(
        "timestamp(claims.x) < timestamp('2030-01-01T00:00:00Z')",
        before={"x": "2029-12-31T23:59:59Z"},
        after={"x": "2030-01-01T00:00:00.5Z"},
        of_a_zone={"x": "2030-01-01T00:30:00+01:00"},
        no_date={"x": "yesterday"},
        number={"x": 1_700_000_000},
    ),
    user_rule(
        "!user.username.startsWith('system:')",
        a_person={"sub": "jane"},
        the_system={"sub": "system:admin"},
        nobody={"sub": "system:anonymous"},
    ),
    user_rule(
        "user.groups.all(g, !g.startsWith('system:'))",
        some={"groups": ["a"]},
        none={},
        masters={"groups": ["a", "system:masters"]},
    ),
    user_rule("user.uid != ''", there={"oid": "1"}, missing={}),
    user_rule(
        "'example.com/x' in user.extra && user.extra['example.com/x'] == ['gold']",
        gold={"x": "gold"},
        other={"x": "tin"},
        missing={},
        listed={"x": ["gold"]},
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _at_work(oracle: Oracle) -> None:
    await put_to_work(oracle, TABLE)


@pytest.mark.parametrize("case", cases(TABLE))
async def test_expressions_give_the_same_answer(oracle: Oracle, case: Case) -> None:
    """The server and the gate accept a token with the same user, uid, groups and extra, or both reject it."""
    await case.holds(oracle)
