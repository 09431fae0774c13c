"""Claims become the same identity in a kube-apiserver and in the gate: mappings, required values, audiences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from authgate.dev.compact import OMIT
from tests.support.parity import Case, Difference, Stricter, Subject, Wider, cases, put_to_work

if TYPE_CHECKING:
    from tests.support.oracle import Oracle

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _by(claim: str, prefix: str = "", **mappings: Any) -> dict[str, Any]:
    return {"claimMappings": {"username": {"claim": claim, "prefix": prefix}, **mappings}}


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    return {
        **_by("sub"),
        "claimValidationRules": [{"claim": claim, "requiredValue": value} for claim, value in rules],
    }


def _mapped(claim: str) -> dict[str, Any]:
    """Values of every JSON type."""
    return {
        "a text": {claim: "value"},
        "missing": {claim: OMIT},
        "a number": {claim: 7},
        "a fraction": {claim: 7.5},
        "true": {claim: True},
        "false": {claim: False},
        "an object": {claim: {"a": "b"}},
        "an empty object": {claim: {}},
        "a list in a list": {claim: [["a"]]},
    }


_EMPTY = Difference.EMPTY_USERNAME
_CONTROL = Difference.CONTROL_CHARACTERS
_EMAIL = Difference.UNVERIFIED_EMAIL

TABLE = (
    Subject(
        "username by a JSON pointer",
        _by("/a/b"),
        {
            "nested": Wider(Difference.POINTER, {"a": {"b": "jane"}}),
            "by name": Stricter(Difference.POINTER, {"/a/b": "jane"}),
            "missing": {},
        },
    ),
    Subject(
        "username by a name with a dot and an escape",
        _by("a~1.b"),
        {"by name": {"a~1.b": "jane"}, "nested": {"a~1": {"b": "jane"}}},
    ),
    Subject(
        "username by sub",
        _by("sub"),
        {
            **_mapped("sub"),
            "null": Stricter(_EMPTY, {"sub": None}),
            "empty": Stricter(_EMPTY, {"sub": ""}),
            "spaces": {"sub": " jane doe "},
            "not ASCII": {"sub": "Jané Döe 王"},
            "anonymous": {"sub": "system:anonymous"},
            "like a ServiceAccount": {"sub": "system:serviceaccount:prod:web"},
            "like a node": {"sub": "system:node:a"},
            "long": {"sub": "x" * 2000},
            "a line break": Stricter(_CONTROL, {"sub": "jane\nadmin"}),
            "NUL": Stricter(_CONTROL, {"sub": "jane\0"}),
            "a control character of Latin-1": Stricter(_CONTROL, {"sub": "jane\x85"}),
            "a lone surrogate": Stricter(Difference.BROKEN_UTF8, {"sub": "jane\ud800"}),
        },
    ),
    Subject(
        "username by another claim",
        _by("name", "corp:"),
        {
            **_mapped("name"),
            "null": {"name": None},
            "empty": {"name": ""},
            "a list": {"name": ["value"]},
            "another case": {"Name": "value"},
            "a line break": Stricter(_CONTROL, {"name": "jane\nadmin"}),
            "no sub beside it": {"name": "value", "sub": OMIT},
        },
    ),
    Subject("a dash as prefix", _by("name", "-"), {"a text": {"name": "value"}, "null": {"name": None}}),
    Subject(
        "username by email",
        _by("email"),
        {
            **_mapped("email"),
            "null": Stricter(_EMPTY, {"email": None}),
            "verified": {"email": "jane@example.com", "email_verified": True},
            "not verified": {"email": "jane@example.com", "email_verified": False},
            "verified: null": {"email": "jane@example.com", "email_verified": None},
            "verified: a text": {"email": "jane@example.com", "email_verified": "true"},
            "verified: 1": {"email": "jane@example.com", "email_verified": 1},
            "verified: a list": {"email": "jane@example.com", "email_verified": [True]},
        },
    ),
    Subject(
        "email beside the username",
        _by("sub"),
        {"not verified": {"email": "jane@example.com", "email_verified": False}, "a number": {"email": 1}},
    ),
    Subject(
        "groups with a prefix",
        _by("sub", groups={"claim": "groups", "prefix": "g:"}),
        {
            **_mapped("groups"),
            "null": {"groups": None},
            "empty": {"groups": ""},
            "a list": {"groups": ["b", "a"]},
            "an empty list": {"groups": []},
            "twice the same": {"groups": ["a", "a"]},
            "null among them": {"groups": ["a", None]},
            "an empty one among them": {"groups": ["", "a"]},
            "a number among them": {"groups": ["a", 1]},
            "true among them": {"groups": [True]},
            "an object among them": {"groups": [{}]},
            "another case": {"Groups": ["a"]},
            "a line break": Stricter(_CONTROL, {"groups": ["a\nb"]}),
            "all who are authenticated": {"groups": ["system:authenticated"]},
            "a thousand": {"groups": [f"group-{number}" for number in range(1000)]},
        },
    ),
    Subject(
        "groups without a prefix",
        _by("sub", groups={"claim": "roles", "prefix": ""}),
        {
            "a list": {"roles": ["a", "system:masters"]},
            "all who are authenticated": {"roles": ["system:authenticated", "a"]},
            "of nobody": {"sub": "system:anonymous", "roles": ["a"]},
            "of nobody, all who are authenticated": {
                "sub": "system:anonymous",
                "roles": ["system:authenticated"],
            },
            "all who are not": {"roles": ["system:unauthenticated"]},
            "an empty one": {"roles": ""},
        },
    ),
    Subject(
        "groups by email",
        _by("sub", groups={"claim": "email", "prefix": ""}),
        {
            "verified": {"email": "jane@example.com", "email_verified": True},
            "not said": {"email": "jane@example.com"},
            "not verified": Stricter(_EMAIL, {"email": "jane@example.com", "email_verified": False}),
        },
    ),
    Subject(
        "uid",
        _by("sub", uid={"claim": "oid"}),
        {
            **_mapped("oid"),
            "null": {"oid": None},
            "empty": {"oid": ""},
            "a line break": Stricter(_CONTROL, {"oid": "a\nb"}),
        },
    ),
    Subject(
        "uid by email",
        _by("sub", uid={"claim": "email"}),
        {
            "verified": {"email": "jane@example.com", "email_verified": True},
            "not verified": Stricter(_EMAIL, {"email": "jane@example.com", "email_verified": False}),
        },
    ),
    Subject(
        "a required value",
        _rules(("tier", "gold")),
        {
            **_mapped("tier"),
            "it": {"tier": "gold"},
            "another case": {"tier": "Gold"},
            "in a list": {"tier": ["gold"]},
            "null": {"tier": None},
            "empty": {"tier": ""},
            "the name in another case": {"Tier": "gold"},
        },
    ),
    Subject(
        "an empty required value",
        _rules(("tier", "")),
        {
            "empty": {"tier": ""},
            "null": {"tier": None},
            "missing": {},
            "false": {"tier": False},
            "a text": {"tier": "gold"},
        },
    ),
    Subject(
        "two required values",
        _rules(("tier", "gold"), ("true", "true")),
        {
            "both": {"tier": "gold", "true": "true"},
            "the first": {"tier": "gold"},
            "the second": {"true": "true"},
            "true as such": {"tier": "gold", "true": True},
        },
    ),
    Subject(
        "a required registered claim",
        _rules(("aud", "my-audience")),
        {"a text": {}, "a list": {"aud": ["my-audience"]}},
    ),
    Subject(
        "names that are no identifiers",
        _by("https://example.com/name", uid={"claim": "a.b"}, groups={"claim": "with space", "prefix": ""}),
        {
            "all": {"https://example.com/name": "jane", "a.b": "1", "with space": ["x"]},
            "nested": {"https://example.com/name": "jane", "a": {"b": "1"}},
        },
    ),
    Subject(
        "several audiences",
        {**_by("sub"), "issuer": {"audiences": ["one", "two"], "audienceMatchPolicy": "MatchAny"}},
        {
            "the first": {"aud": "one"},
            "the second": {"aud": ["two"]},
            "one of others": {"aud": ["other", "two"]},
            "another": {"aud": "other"},
            "a beginning": {"aud": "on"},
            "another case": {"aud": "One"},
            "none": {"aud": OMIT},
            "an empty list": {"aud": []},
            "empty": {"aud": ""},
            "null": {"aud": None},
            "a number": {"aud": 1},
            "a number among them": {"aud": ["one", 1]},
            "null among them": Stricter(Difference.NULL_AUDIENCE, {"aud": ["one", None]}),
            "an object": {"aud": {"one": "one"}},
            "both in one text": {"aud": "one two"},
        },
    ),
    Subject(
        "one audience and a match policy",
        {**_by("sub"), "issuer": {"audiences": ["one"], "audienceMatchPolicy": "MatchAny"}},
        {"it": {"aud": "one"}, "among others": {"aud": ["x", "one"]}, "another": {"aud": "two"}},
    ),
    Subject(
        "the token's id",
        _by("sub"),
        {
            "a text": {"jti": "id-1"},
            "missing": {"jti": OMIT},
            "null": {"jti": None},
            "empty": {"jti": ""},
            "a number": Stricter(Difference.TOKEN_ID, {"jti": 7}),
            "an object": Stricter(Difference.TOKEN_ID, {"jti": {}}),
            "a line break": Stricter(_CONTROL, {"jti": "a\nb"}),
            "the name in another case": {"jti": OMIT, "JTI": "id-1"},
        },
    ),
    Subject(
        "groups in another place",
        _by("sub", groups={"claim": "groups", "prefix": ""}),
        {
            "no names": {"_claim_names": {}},
            "no groups among the names": {"_claim_names": {"mail": "s"}, "_claim_sources": {}},
            "no sources": {"_claim_names": {"groups": "s"}},
            "no such source": {"_claim_names": {"groups": "s"}, "_claim_sources": {}},
            "no address": Stricter(
                Difference.ELSEWHERE, {"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {}}}
            ),
            "two readers distinguish": Stricter(
                Difference.ELSEWHERE,
                lambda issuer: issuer.mint(
                    claims={
                        "_claim_names": {"groups": "s"},
                        "_claim_sources": {"s": {"endpoint": f"{issuer.url}/groups"}},
                    }
                ),
            ),
            "nobody there": {
                "_claim_names": {"groups": "s"},
                "_claim_sources": {"s": {"endpoint": "https://127.0.0.1:1/groups"}},
            },
            "here all the same": {
                "_claim_names": {"groups": "s"},
                "_claim_sources": {"s": {"endpoint": "https://127.0.0.1:1/groups"}},
                "groups": ["a"],
            },
            "names that are texts": {"_claim_names": "groups"},
            "a name that is a number": {"_claim_names": {"groups": 1}},
            "names null": {"_claim_names": None},
        },
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _at_work(oracle: Oracle) -> None:
    await put_to_work(oracle, TABLE)


@pytest.mark.parametrize("case", cases(TABLE))
async def test_claims_give_the_same_identity(oracle: Oracle, case: Case) -> None:
    """The server and the gate accept a token with the same user, uid, groups and extra, or both reject it."""
    await case.holds(oracle)
